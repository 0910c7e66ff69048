"""A whole system in one process and in virtual time, for tests and demos."""
