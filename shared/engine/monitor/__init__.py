"""What a process says about its own condition: alarms, troubles and stalls."""
