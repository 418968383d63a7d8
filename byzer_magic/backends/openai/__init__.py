"""The OpenAI API, which many providers share."""
