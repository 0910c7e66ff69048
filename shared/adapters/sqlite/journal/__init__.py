"""The database of a context: journal (event store and outbox), inbox, positions, effects and parked messages."""
