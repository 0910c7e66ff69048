"""Parses and formats durations and sizes as people write them: `15m`, `1h30m`, `500ms`, `64KiB`."""

import re
from datetime import timedelta

DURATION_AT_MOST = timedelta(days=36_500)
"""A century. It fits the nanoseconds of JetStream's API, and its sum with any date of ours is a valid date."""

SIZE_AT_MOST = 2**62

_DURATION_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
}
_SIZE_UNITS = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "B": 1}

_DURATION = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit})?" for unit in _DURATION_UNITS))
_SIZE = re.compile(rf"([0-9]{{1,19}})({'|'.join(_SIZE_UNITS)})")


def parse_duration(text: str) -> timedelta:
    """Parse `1h30m`: whole numbers with units, the largest unit first. Raises ValueError for anything else."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text[:80]!r} is not a duration: write it like 15m, 0s, 500ms or 1h30m (d h m s ms us)")
    counts = (int(count) if count else 0 for count in found.groups())
    microseconds = sum(
        count * (unit // timedelta(microseconds=1))
        for count, unit in zip(counts, _DURATION_UNITS.values(), strict=True)
    )
    if microseconds > DURATION_AT_MOST // timedelta(microseconds=1):
        raise ValueError(f"{text[:80]!r} is too long; use at most {DURATION_AT_MOST.days}d")
    return timedelta(microseconds=microseconds)


def format_duration(duration: timedelta) -> str:
    """Format as `1h30m`, which parse_duration reads back. Requires: the duration is not negative."""
    assert duration >= timedelta(0)
    words = []
    for name, unit in _DURATION_UNITS.items():
        count, duration = divmod(duration, unit)
        if count:
            words.append(f"{count}{name}")
    return "".join(words) or "0s"


def span(duration: timedelta | None, sign: str = "") -> str:
    """A duration as people read it: `38.9 ms`, `1.20 s` or `0:02:05`; nothing for None."""
    if duration is None:
        return ""
    milliseconds = duration / timedelta(milliseconds=1)
    if milliseconds < 1000:
        return f"{sign}{milliseconds:.1f} ms"
    if milliseconds < 100_000:
        return f"{sign}{milliseconds / 1000:.2f} s"
    return f"{sign}{timedelta(seconds=round(milliseconds / 1000))}"


def parse_size(text: str) -> int:
    """Parse `64KiB`, a whole number with a binary unit, into bytes. Raises ValueError for anything else."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:80]!r} is not a size: write it like 64KiB, 10MiB or 512B (B KiB MiB GiB TiB)")
    size = int(found[1]) * _SIZE_UNITS[found[2]]
    if size > SIZE_AT_MOST:
        raise ValueError(f"{text[:80]!r} is too large; use at most {format_size(SIZE_AT_MOST)}")
    return size


def format_size(size: int) -> str:
    """Format bytes as `64KiB`, in the largest unit that divides them; parse_size reads it back."""
    name = next(name for name, unit in _SIZE_UNITS.items() if size % unit == 0 and (size or unit == 1))
    return f"{size // _SIZE_UNITS[name]}{name}"


def nanoseconds(duration: timedelta) -> int:
    """The duration in nanoseconds, the unit of JetStream's API."""
    return duration // timedelta(microseconds=1) * 1000
