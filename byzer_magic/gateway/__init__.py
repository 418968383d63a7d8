"""The HTTP endpoint: the wires of OpenAI, Anthropic and Ollama in front of all deployments."""
