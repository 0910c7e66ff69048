"""From a delivered message to published events: read, decide, store, relay, and call the outside."""
