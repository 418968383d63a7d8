"""A process's connection to deployments: connecting, asking, following; everything that faces call."""
