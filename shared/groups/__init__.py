"""Runs the groups of the read side: each reads EVENTS in order, folds it into its database, and answers queries."""
