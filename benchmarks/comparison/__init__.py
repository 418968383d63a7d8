"""What `peers.py` consists of: the peers' environments, processes and clients, what is measured, and its tables."""
