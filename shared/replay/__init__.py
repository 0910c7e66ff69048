"""Decides again: the recorded inputs of a context with the code at hand, or one saga as a test."""
