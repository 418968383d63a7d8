"""Rendered audio, images and transcripts."""
