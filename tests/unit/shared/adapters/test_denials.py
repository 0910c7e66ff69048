"""Permissions that the server denies: parsed from its errors, bounded, and removed when they no longer hold."""

import pytest

from shared.adapters.jetstream.denials import DENIALS_AT_MOST, EXPIRES_AFTER_S, Denials
from shared.adapters.jetstream.nats_py import denied_in


def test_denials_are_bounded_and_end_when_cleared_or_expired() -> None:
    now = 0.0
    denials = Denials(lambda: now)
    for number in range(DENIALS_AT_MOST + 1):
        denials.record("publish", f"evt.{number}")
    assert len(denials.current) == DENIALS_AT_MOST
    denials.clear("publish", ["evt.100"], unless_after=-1.0)
    assert len(denials.current) == DENIALS_AT_MOST
    denials.clear("publish", ["evt.100"])
    assert len(denials.current) == DENIALS_AT_MOST - 1
    now = EXPIRES_AFTER_S + 1
    assert denials.current == []
    assert not denials


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("nats: 'permissions violation for publish to \"evt.x\"'", ("publish", "evt.x")),
        ('nats: permissions violation for subscription to "a.b" using queue "q"', ("subscribe", "a.b")),
        ("nats: stale connection", None),
    ],
)
def test_denial_is_parsed_from_the_text_of_the_error(text: str, denied: tuple[str, str] | None) -> None:
    assert denied_in(Exception(text)) == denied
