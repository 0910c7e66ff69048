"""The HTTP door: a process that turns HTTP requests into commands, with a producer's rights and no others."""
