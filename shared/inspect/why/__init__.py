"""Answers what a saga waits for: the evidence about its key, the causes with their remedies, and what lies ahead."""
