"""Recovery: rebuilds snapshots from the journal, the journal from the stream, and the stream from the journal.

A worker compares and corrects by itself when it starts and at a takeover. `shared/repair` has the operator's commands.
"""
