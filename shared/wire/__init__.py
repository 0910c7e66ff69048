"""What stands on the wire: subjects, headers, bodies, the names of the streams, and the events of the engine itself."""
