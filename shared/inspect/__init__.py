"""Answers questions about sagas, aggregates and workers. Reads only."""
