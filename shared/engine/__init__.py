"""One process of a context, from a delivered message to published events.

A message passes four stages: `intake` reads it, `route` makes commands of it, `decide` decides them and commits, and
`publish` publishes the events. `loop.py` drives the stages, `ownership.py` decides for which partitions, and
`effects.py` calls the outside. `recover` mends a database or a stream that has lost data, `monitor` watches the
process, and `questions` answers the tools of operators.
"""
