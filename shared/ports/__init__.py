"""The ports: broker, clock and store for the engine, databases for the tools. Adapters are in `shared.adapters`."""
