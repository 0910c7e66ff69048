"""The database of a group of the read side in SQLite: its tables, its position, and queries beside the writer."""
