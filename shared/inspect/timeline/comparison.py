"""Compares two sagas: which messages only one of them has, and where they part.

Messages are matched by context, type, told values from a closed set, and how often these came before, not by their
causes: which of two events comes last, and so causes the next one, is chance.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from shared.config.units import span
from shared.inspect.timeline.drawing import FAILURE_OR_UNDO
from shared.inspect.timeline.told_fields import ToldFields
from shared.inspect.timeline.tree import Message


class Side(NamedTuple):
    """A message of one saga: the time since its first message, and its told fields."""

    message: Message
    after: timedelta
    told: str


class Pair(NamedTuple):
    """A message that both sagas have, or one of them."""

    event: str
    left: Side | None
    right: Side | None


class Comparison(NamedTuple):
    """The pairs by time. `parting` says where the sagas part, or is empty when both have the same messages."""

    pairs: tuple[Pair, ...]
    parting: str


def compare(left: Sequence[Message], right: Sequence[Message], told_fields: ToldFields) -> Comparison:
    """Compare the messages of two keys; each must have at least one message."""
    ours, theirs = dict(_numbered(left, told_fields)), dict(_numbered(right, told_fields))
    pairs = [Pair(one[0], ours.get(one), theirs.get(one)) for one in dict.fromkeys((*ours, *theirs))]
    pairs.sort(key=lambda pair: min(side.after for side in (pair.left, pair.right) if side is not None))
    return Comparison(tuple(pairs), _parting(pairs, left[0].key, right[0].key))


def _numbered(
    messages: Sequence[Message], told_fields: ToldFields
) -> Iterator[tuple[tuple[str, tuple[str, ...], int], Side]]:
    began = min(message.at for message in messages)
    seen: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for message in sorted({one.id: one for one in reversed(messages)}.values(), key=_by_time):
        name = f"{message.context}.{message.type}{' is due' if message.kind == 'due' else ''}"
        kind = told_fields.kind_of(message)
        seen[name, kind] += 1
        yield (
            (name, kind, seen[name, kind]),
            Side(message, message.at - began, " ".join(told_fields.of(message).values())),
        )


def _by_time(message: Message) -> tuple[datetime, str, int]:
    return message.at, message.stream, message.sequence


def _parting(pairs: Sequence[Pair], left: str, right: str) -> str:
    """Where the sagas part: the cause of the first message that only one of them has, and how each goes on."""
    alone = [pair for pair in pairs if pair.left is None or pair.right is None]
    if not alone:
        return ""
    causes = {side.message.id: pair.event for pair in pairs for side in (pair.left, pair.right) if side is not None}
    first = alone[0].left or alone[0].right
    cause = causes.get(first.message.caused_by) if first is not None else None
    after = f"after {cause}" if cause is not None else "at the beginning"
    goes_on = [
        *_goes_on(left, [pair for pair in alone if pair.left]),
        *_goes_on(right, [pair for pair in alone if pair.right]),
    ]
    return f"they part {after}: {', '.join(goes_on)}"


def _goes_on(key: str, alone: Sequence[Pair]) -> Iterator[str]:
    for pair in alone[:1]:
        side = pair.left or pair.right
        yield f"{key} goes on with {pair.event}{f' {side.told}' if side is not None and side.told else ''}"


def draw(comparison: Comparison, left: str, right: str) -> Table:
    """A table: a sign for messages that one saga lacks, the time in each, the message, and what differs in it."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    for _ in (left, right):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("", left, right, "", style="bold")
    for pair in comparison.pairs:
        sign, style = ("-", "red") if pair.right is None else ("+", "green") if pair.left is None else ("", "")
        line = Text(pair.event, style="yellow" if FAILURE_OR_UNDO.search(pair.event) else "")
        told = dict.fromkeys(side.told for side in (pair.left, pair.right) if side is not None and side.told)
        line.append(f" {' | '.join(told)}" if told else "", style="dim")
        table.add_row(sign, _time(pair.left), _time(pair.right), line, style=style)
    return table


def _time(side: Side | None) -> str:
    return "-" if side is None else span(side.after)
