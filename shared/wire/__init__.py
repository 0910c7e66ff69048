"""The wire format: subjects, headers, bodies, stream names, and the events that the engine itself publishes."""
