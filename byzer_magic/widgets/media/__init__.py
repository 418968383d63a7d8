"""Sound, pictures and transcripts, and the recorder."""
