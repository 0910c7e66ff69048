"""Durations and sizes as people write them: `15m`, `1h30m`, `500ms`, `64KiB`."""

import re
from datetime import timedelta

DURATION_AT_MOST = timedelta(days=36_500)
"""A century: it fits the nanoseconds of JetStream's API and can be added to any date of ours."""

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
    """`1h30m` as a timedelta; raises ValueError unless it is whole numbers with units, the largest unit first."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text[:80]!r} is not a duration: write it like 15m, 0s, 500ms or 1h30m (d h m s ms us)")
    counts = (int(count) if count else 0 for count in found.groups())
    microseconds = sum(
        count * (unit // timedelta(microseconds=1))
        for count, unit in zip(counts, _DURATION_UNITS.values(), strict=True)
    )
    if microseconds > DURATION_AT_MOST // timedelta(microseconds=1):
        raise ValueError(f"{text[:80]!r} is too long: {DURATION_AT_MOST.days}d at the most")
    return timedelta(microseconds=microseconds)


def format_duration(duration: timedelta) -> str:
    """A timedelta that is not negative as `1h30m`, the form that parse_duration reads back."""
    assert duration >= timedelta(0)
    words = []
    for name, unit in _DURATION_UNITS.items():
        count, duration = divmod(duration, unit)
        if count:
            words.append(f"{count}{name}")
    return "".join(words) or "0s"


def parse_size(text: str) -> int:
    """`64KiB` in bytes; raises ValueError unless it is a whole number with a binary unit."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:80]!r} is not a size: write it like 64KiB, 10MiB or 512B (B KiB MiB GiB TiB)")
    size = int(found[1]) * _SIZE_UNITS[found[2]]
    if size > SIZE_AT_MOST:
        raise ValueError(f"{text[:80]!r} is too large: {format_size(SIZE_AT_MOST)} at the most")
    return size


def format_size(size: int) -> str:
    """Bytes as `64KiB`, in the largest unit that divides them, the form that parse_size reads back."""
    name = next(name for name, unit in _SIZE_UNITS.items() if size % unit == 0 and (size or unit == 1))
    return f"{size // _SIZE_UNITS[name]}{name}"


def nanoseconds(duration: timedelta) -> int:
    """A timedelta as JetStream's API wants it."""
    return duration // timedelta(microseconds=1) * 1000
