"""What operators do to the broker: start one, give it its streams and consumers, and see what differs."""
