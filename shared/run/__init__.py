"""Runs a whole system on one machine: a server, a worker per context, and supervision."""
