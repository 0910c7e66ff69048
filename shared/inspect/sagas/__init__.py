"""Answers how all sagas of a system are: a list with their status, their rates and durations, and metrics."""
