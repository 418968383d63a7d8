"""The data plane: frames on a socket between clients, pools and engine workers."""
