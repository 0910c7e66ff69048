"""Answers what has happened under a key: the messages of a saga as a tree of causes, annotated and drawn."""
