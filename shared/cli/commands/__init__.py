"""The commands of `chorus`, one a module. A module that is part of a command has its name first: `timeline_diff`."""
