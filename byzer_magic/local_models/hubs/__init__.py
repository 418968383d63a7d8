"""Models in hubs (Hugging Face, ModelScope): how they are named, which files an engine needs, and fetching them."""
