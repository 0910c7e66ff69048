"""Where one worker's time goes, by its two threads: the event loop and the database."""

import pstats
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.bench.worker import DATABASE_THREAD, LOOP_THREAD

TOP = 30


class Line(Struct, frozen=True, kw_only=True):
    """One function: its own time and its time with all it called, in microseconds per saga."""

    function: str
    calls: float
    own_us: float
    with_callees_us: float


class Profile(Struct, frozen=True, kw_only=True):
    """The functions with the most time of their own, by thread."""

    loop: tuple[Line, ...]
    database: tuple[Line, ...]


def profile_of(file: Path, *, sagas: int) -> Profile:
    """Read what `tests.bench.worker` left."""
    return Profile(
        loop=_lines(Path(f"{file}.{LOOP_THREAD}"), sagas), database=_lines(Path(f"{file}.{DATABASE_THREAD}"), sagas)
    )


def _lines(file: Path, sagas: int) -> tuple[Line, ...]:
    stats: dict[Any, Any] = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]  # Typeshed leaves it out.
    lines = [
        Line(
            function=_name(place),
            calls=calls / sagas,
            own_us=own_s / sagas * 1e6,
            with_callees_us=with_callees_s / sagas * 1e6,
        )
        for place, (calls, _, own_s, with_callees_s, _) in stats.items()
    ]
    return tuple(sorted(lines, key=lambda line: -line.own_us)[:TOP])


def _name(place: tuple[str, int, str]) -> str:
    path, line, function = place
    return function if path == "~" else f"{'/'.join(Path(path).parts[-2:])}:{line} {function}"
