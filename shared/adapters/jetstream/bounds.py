"""The bounds of a connection."""

CONNECT_TIMEOUT_S = 5.0
ABANDON_WITHIN_S = 0.2
"""After a failed attempt there is nothing to send, and a TLS handshake that has failed never ends by itself."""
REQUEST_TIMEOUT_S = 5.0
PING_INTERVAL_S = 2
UNANSWERED_PINGS = 1
"""With one, the client detects a dead line within two ping intervals; with two, within three."""
RECONNECT_WAIT_S = 0.25
BUFFERED_BYTES_WHILE_DISCONNECTED = 64 * 1024
"""Small: the relay resends unpublished rows from the journal, while a buffer would send messages of unknown age."""
