"""The Store port on SQLite: journal (event store and outbox), inbox, positions, effects and parked messages."""
