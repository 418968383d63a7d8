"""What each command does, written once for all faces; results go to an `Output`."""
