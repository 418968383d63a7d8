"""`%%chat --grid`: every combination of a prompt's variables, models and options in one table, and its judge."""
