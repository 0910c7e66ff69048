"""A mistake in the graph of a system."""

from msgspec import Struct


class Finding(Struct, frozen=True, kw_only=True):
    """`rule` names the kind of mistake, `place` is `file:line`, `remedy` what to do."""

    rule: str
    place: str
    text: str
    remedy: str
