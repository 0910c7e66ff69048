"""How a process is configured: environment, connection, secrets, units, logging and exit codes."""
