"""Writes files all or none: when the block raises, every file is again as it was before."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.config.atomic_file import replace_file


class NewError(Exception):
    """Nothing was written; the text says why and what to do next."""


class Changes:
    """The changes of one run; `written` lists the files in their order."""

    def __init__(self) -> None:
        self.written: list[Path] = []
        self._made: list[Path] = []
        self._before: dict[Path, bytes] = {}

    def create(self, file: Path, text: str) -> None:
        """Write a file that does not exist yet, and the directories above it; raises FileExistsError."""
        self.make_directory(file.parent)
        with file.open("x", encoding="utf-8", newline="\n") as new:
            self._made.append(file)
            new.write(text)
        self.written.append(file)

    def make_directory(self, directory: Path) -> None:
        """Make a directory and those above it, as far as they are missing."""
        missing = [one for one in (directory, *directory.parents) if not one.exists()]
        for one in reversed(missing):
            with suppress(FileExistsError):  # Another process made it in the meantime.
                one.mkdir()
                self._made.append(one)

    def replace(self, file: Path, text: str) -> None:
        """Change a file that exists."""
        self.keep(file)
        _write_whole(file, text.encode())
        self.written.append(file)

    def keep(self, file: Path) -> None:
        """Remember a file that other code is about to change, so that it can be undone."""
        self._before.setdefault(file, file.read_bytes())

    def undo(self) -> None:
        """Take everything back, the newest change first."""
        for file, content in self._before.items():
            with suppress(OSError):  # A file that cannot be written was not changed either.
                if file.read_bytes() != content:
                    _write_whole(file, content)
        for made in reversed(self._made):
            with suppress(OSError):  # Another process has put something there.
                if made.is_dir():
                    shutil.rmtree(made / "__pycache__", ignore_errors=True)  # The context was imported.
                    made.rmdir()
                else:
                    made.unlink()


def _write_whole(file: Path, content: bytes) -> None:
    try:
        replace_file(file, content)
    except OSError as error:  # It names the unfinished file.
        raise OSError(error.errno, error.strerror, str(file)) from error


@contextmanager
def changes() -> Iterator[Changes]:
    """Keep what the block writes, or undo it when the block raises.

    Raises:
        NewError: the file system refuses; nothing is left.
    """
    made = Changes()
    try:
        yield made
    except OSError as error:
        made.undo()
        raise NewError(f"{error.filename}: {error.strerror}; nothing was written") from error
    except BaseException:
        made.undo()
        raise
