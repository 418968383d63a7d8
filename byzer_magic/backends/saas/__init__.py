"""Providers reached over the network, one file each; the file name is the provider name."""
