"""What providers over HTTP share: client, server-sent events, retries, errors, parameters, messages, speech."""
