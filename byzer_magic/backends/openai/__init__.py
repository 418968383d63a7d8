"""The OpenAI API, which many providers share: backend, SDK client, parameters, schema, and media."""
