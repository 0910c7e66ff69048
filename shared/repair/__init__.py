"""What an operator does about trouble: retry, skip or void messages, and publish lost events again."""
