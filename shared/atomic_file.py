"""Replaces a file as a whole, so that a crash or a full disk leaves the old one."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def replace_file(file: Path, content: bytes) -> None:
    """Replace the content of an existing file, also through a link; its mode stays. Raises OSError."""
    target = file.resolve()
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        shutil.copymode(target, unfinished)
        unfinished.replace(target)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
