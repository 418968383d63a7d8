"""Families of local models that are loaded in a way of their own, one file each: `custom/<file name>`."""
