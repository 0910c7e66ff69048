"""Repairs at an operator's command: retry, skip or void messages, rebuild a database, republish lost events.

A worker recovers by itself where it can (`shared/engine/recover`); these are the cases that a person has to decide.
"""
