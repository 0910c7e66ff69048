"""The third stage: loads aggregates, decides, and commits everything in one transaction."""
