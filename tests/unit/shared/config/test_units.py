from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.config.secrets import Secret, SecretUrl
from shared.config.units import (
    DURATION_AT_MOST,
    SIZE_AT_MOST,
    format_duration,
    format_size,
    nanoseconds,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0s", timedelta(0)),
        ("15m", timedelta(minutes=15)),
        ("500ms", timedelta(milliseconds=500)),
        ("1h30m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("1d2h3m4s5ms6us", timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5, microseconds=6)),
    ],
)
def test_durations_are_written_with_units(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration
    assert format_duration(duration) == text


@pytest.mark.parametrize(
    "text", ["", "15", "m", "1.5h", "-1s", "30m1h", "1m1m", "15 m", "15M", "PT15M", "15m\n", "9" * 13 + "s", "36501d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|is too long"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("512B", 512), ("64KiB", 65536), ("3MiB", 3 << 20), ("1TiB", 1 << 40)]
)
def test_sizes_are_written_in_binary_units(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


@pytest.mark.parametrize(
    "text", ["", "64", "64K", "64KB", "64kib", "-1B", "1.5GiB", "64 KiB", "9" * 20 + "B", "9" * 18 + "TiB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size|is too large"):
        parse_size(text)


@given(st.timedeltas(timedelta(0), DURATION_AT_MOST))
@example(DURATION_AT_MOST)
def test_every_duration_reads_back(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(0, SIZE_AT_MOST))
@example(SIZE_AT_MOST - 1)
def test_every_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_nanoseconds_are_exact() -> None:
    assert nanoseconds(timedelta(days=7)) == 604_800_000_000_000
    assert nanoseconds(timedelta(microseconds=1)) == 1000


def test_secrets_are_used_as_they_are_and_shown_as_stars() -> None:
    assert Secret("s3cret") == "s3cret"
    assert repr([Secret("s3cret")]) == "[***]"
    assert repr(SecretUrl("nats://t0ken@host:4222")) == "nats://***@host:4222"
    assert repr(SecretUrl("smtp://me:p@ss@host")) == "smtp://me:***@host"
    assert repr(SecretUrl("nats://host:4222")) == "nats://host:4222"
