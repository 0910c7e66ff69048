"""The ViewStore port on SQLite: the tables, the state and the position of one group, and queries beside the writer."""
