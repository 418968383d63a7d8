"""Local weights: reading their files, loading them, running what blocks, the parameters and drivers of engines."""
