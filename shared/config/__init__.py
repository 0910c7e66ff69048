"""How a process is configured: environment, connection, secrets, units, logging, exit codes and whole files."""
