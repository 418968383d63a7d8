"""Rendering of audio, images and transcripts."""
