"""Files that users name or write: their paths, and their texts in any encoding."""
