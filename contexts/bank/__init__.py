"""The bank: somebody else's system, simulated, with its own process, database and manners."""
