"""Writes the health of a process once a second into a file of its own, next to the database of its context.

The process holds an exclusive lock on its file while it lives. A file whose lock is free belongs to a dead process, and
any reader removes it. A locked file with an old timestamp belongs to a process that hangs. This works between
containers that share a volume, where process ids mean nothing. `chorus health` imports this module, so it imports
little.
"""

import fcntl
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

ENDING: Final = ".health"
ATTEMPTS: Final = 3
"""How often a reader reads when it meets a half-written report."""
BYTES_AT_MOST: Final = 1 << 20

State: TypeAlias = Literal["starting", "ready", "stopping"]


class Report(Struct, frozen=True, kw_only=True):
    """The health of one process.

    `partitions` is how many the context has, `asked` are those that this process may own, and `owned` those it owns; in
    JSON these are `held`, as in older releases.
    `came_round_s` is the time since the worker's loop last finished a round. `behind` counts messages that are
    delivered or waiting and not decided. `behind_since` and `unpublished_since` are the times of the oldest such
    message and of the oldest unpublished row.
    """

    context: str
    host: str
    pid: int
    at: datetime
    started_at: datetime
    state: State
    came_round_s: float = 0.0
    partitions: int = 0
    asked: Sequence[int] = ()
    owned: Sequence[int] = msgspec.field(default=(), name="held")
    decided: int = 0
    parked: int = 0
    refused: int = 0
    unpublished: int = 0
    unpublished_since: datetime | None = None
    behind: int = 0
    behind_since: datetime | None = None
    alarms: Sequence[Mapping[str, Any]] = ()


class LiveProcess(NamedTuple):
    """A process whose file is locked. `report` is None when the file cannot be read."""

    context: str
    host: str
    pid: int
    silent_s: float
    report: Report | None


class HealthFile:
    """The health file of this process. `write` creates it, also after its removal."""

    def __init__(self, directory: Path, context: str) -> None:
        self.host = socket.gethostname().replace("/", "-")
        self.pid = os.getpid()
        self.path = directory / f"{context}@{self.host}-{self.pid}{ENDING}"
        self._descriptor = -1

    def write(self, report: Report) -> None:
        """Replace the report; raises OSError. On a full disk the older report stays and gets the current time."""
        if not self._is_ours():
            self._open()
        line = _encoder.encode(report) + b"\n"
        try:
            # One write over the older text, because a rename would lose the lock. Readers take the first line only.
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))
        except OSError:
            os.utime(self._descriptor)
            raise

    def remove(self) -> None:
        """Remove the file, because this process ends as it should."""
        if self._is_ours():
            self.path.unlink(missing_ok=True)
        self._close()

    def _open(self) -> None:
        self._close()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _is_ours(self) -> bool:
        return self._descriptor >= 0 and _is_same(self._descriptor, self.path)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def live_processes(directory: Path) -> list[LiveProcess]:
    """Every process that lives, in the order of file names. Removes the files of dead processes."""
    found = [_live_process(path) for path in sorted(directory.glob(f"*@*-*{ENDING}"))]
    return [process for process in found if process is not None]


def _live_process(path: Path) -> LiveProcess | None:
    context, _, process = path.name.removesuffix(ENDING).partition("@")
    host, _, pid = process.rpartition("-")
    if not pid.isdecimal():
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        # A missing file belongs to a process that has just ended; a file of another user cannot be read.
        return None if isinstance(error, FileNotFoundError) else LiveProcess(context, host, int(pid), 0.0, None)
    try:
        if _is_free(descriptor):
            if _is_same(descriptor, path):
                with suppress(OSError):  # The file stays in a directory that we may only read.
                    path.unlink(missing_ok=True)
            return None
        silent_s = max(0.0, time.time() - os.fstat(descriptor).st_mtime)
        return LiveProcess(context, host, int(pid), silent_s, _read(descriptor))
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _read(descriptor: int) -> Report | None:
    for _ in range(ATTEMPTS):
        line, _, _ = os.pread(descriptor, BYTES_AT_MOST, 0).partition(b"\n")
        with suppress(msgspec.DecodeError):
            return _decoder.decode(line)
    return None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Report)
