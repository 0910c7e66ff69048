"""The engine's ports: broker, clock and store. Their adapters are in `shared.adapters`."""
