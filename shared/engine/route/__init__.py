"""The second stage: makes commands of a delivered message; some are refused, poison or a stranger's."""
