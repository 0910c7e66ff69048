"""Monitors the process itself: alarms, troubles and stalls."""
