"""Answers how far contexts and groups of read sides are behind."""
