"""Anthropic's wire: messages, their stream of events, and token counts."""
