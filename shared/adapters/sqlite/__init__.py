"""SQLite: opens a database file, migrates it, replaces it, and runs transactions on it."""
