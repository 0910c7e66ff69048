"""The second stage: turns a delivered message into commands, or finds it malformed, poison or a stranger's."""
