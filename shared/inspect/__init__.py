"""Answers questions about sagas, aggregates and workers from streams, databases and health files. Reads only."""
