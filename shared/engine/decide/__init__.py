"""The third stage: checks the inbox, loads aggregates, decides, and commits everything in one transaction."""
