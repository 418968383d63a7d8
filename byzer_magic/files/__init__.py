"""Files that users name or write: their paths, their texts in any encoding, and files that no other user may see or plant."""
