"""Ray, sockets and processes: the only package that imports ray."""
