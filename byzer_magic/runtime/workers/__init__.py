"""The workers of one deployment: API slots, engine processes, their life cycle and their end."""
