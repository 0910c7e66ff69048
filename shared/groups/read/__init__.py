"""The first stage of a group: reads EVENTS in order, and admits each event of a known context once."""
