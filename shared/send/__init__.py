"""What a client does: writes, checks, sends and follows a command."""
