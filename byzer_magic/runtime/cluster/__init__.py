"""The Ray cluster: finding or starting it, and creating, placing and finding deployments in it."""
