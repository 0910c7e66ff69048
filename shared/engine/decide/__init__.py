"""The second stage: routes messages, loads aggregates, decides, and commits everything in one transaction."""
