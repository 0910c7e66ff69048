"""SQLite: opens, migrates and replaces database files, and runs transactions on them."""
