"""Writes a file as a whole, so that a crash or a full disk leaves the old one, or none; and locks files that change
together.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_file(file: Path, text: str, *, mode: int) -> None:
    """Create or replace a file, with this mode whatever the umask is. Raises OSError."""
    unfinished = _unfinished(file)
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        unfinished.replace(file)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def replace_file(file: Path, content: bytes) -> None:
    """Replace the content of an existing file, also through a link; its mode stays. Raises OSError."""
    target = file.resolve()
    unfinished = _unfinished(target)
    try:
        unfinished.write_bytes(content)
        shutil.copymode(target, unfinished)
        unfinished.replace(target)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Wait until no other process changes files in this directory, and lock it meanwhile. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unfinished(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}")
