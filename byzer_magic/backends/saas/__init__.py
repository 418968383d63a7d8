"""Providers reached over the network, one file or folder each; its name is the provider name."""
