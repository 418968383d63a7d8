"""Command text to spec and back: options, parser, YAML files, completion, help, secrets in settings."""
