"""Stand-ins for modules that Ray imports and does not use: on the path, each loads the real one when it is needed."""
