"""Repairs on an operator's word: retry, skip or void messages, rebuild a database, republish lost events."""
