"""Declares the read side of a system: its groups, the tables and queries of a group, and its dataflow topologies.

Declarations only, as `shared/context.py` has them for a context; `shared/groups` runs them.
"""
