"""One worker process: starts, reports that it is alive, and ends in good order."""
