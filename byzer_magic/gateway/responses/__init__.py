"""OpenAI's Responses API: items in, items and events out, and the conversations that it remembers."""
