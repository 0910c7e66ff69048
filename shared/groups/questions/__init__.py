"""Answers requests to a group: queries on its tables, and how far it is behind."""
