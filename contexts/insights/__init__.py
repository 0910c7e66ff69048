"""Insights: the read side, which answers questions about the shop. No saga waits for it."""
