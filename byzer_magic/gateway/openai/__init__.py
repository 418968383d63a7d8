"""OpenAI's wire, one file for each of its endpoints."""
