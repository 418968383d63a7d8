"""Model files and hardware on this machine, and which engine can run them; imports no engine."""
