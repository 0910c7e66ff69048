"""Acts as a client: composes, checks and publishes a command, and follows its answer."""
