"""Models over tables: prompts for the rows of frames and datasets, what comes back as columns, and search in them."""
