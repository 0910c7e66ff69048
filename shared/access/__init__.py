"""The rights of users: which subjects each may use, derived from the code, and the keys that prove who it is."""
