"""What a process says about its own condition: alarms, stalls and metrics."""
