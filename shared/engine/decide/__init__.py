"""The third stage: checks the inbox, loads aggregates, decides, and commits everything in one transaction.

`commit.py` is the transaction and its fence, `decisions.py` decides, `inbox.py` is dedup, and `parking.py` parks the
keys of poison messages.
"""
