"""The adapters of the ports: JetStream, SQLite and the system clock, and their twins in memory and virtual time."""
