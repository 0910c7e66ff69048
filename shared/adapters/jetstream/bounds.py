"""The bounds of a connection."""

CONNECT_TIMEOUT_S = 5.0
API_WITHIN_S = 5.0
PING_INTERVAL_S = 2
UNANSWERED_PINGS = 1
"""With one, a line that went dead is noticed within two intervals; with two it would take three."""
RECONNECT_WAIT_S = 0.25
BUFFERED_BYTES_WHILE_AWAY = 64 * 1024
"""Small: what cannot be sent now is sent again from the journal, not from a buffer whose age nobody knows."""
