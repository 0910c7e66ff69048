"""Watches the process itself: alarms, the troubles behind them, stalls, and counts for the metrics."""
