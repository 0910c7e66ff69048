"""The first stage: reads the streams of the partitions that this process owns.

`partition.py` holds the pin that makes this process the owner; `reader.py` keeps the order per key, and pulls within a
bound.
"""
