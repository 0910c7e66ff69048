"""Runs the groups that `shared/readside` declares: each reads EVENTS, folds it into its database, and answers queries.

An event passes three stages: `read`, `fold`, `publish`. `process.py` drives them, and `batch.py` is the transaction.
`questions` answers queries, and `forwarding` sends events to an HTTP endpoint.
"""
