"""Answers the questions of an operator's tools, from memory and from the database. No transaction waits for them."""
