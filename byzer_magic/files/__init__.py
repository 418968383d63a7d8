"""Files that users name or write: their paths and texts in any encoding, and files closed to other users."""
