"""The exit codes, from sysexits.h, by which a supervisor knows whether a restart can help."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command and worker."""

    OK = 0
    NO = 1
    USAGE = 64
    BROKER_AWAY = 69
    INTERNAL = 70
    DENIED = 77
    MISCONFIGURED = 78
