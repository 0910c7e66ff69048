"""Puts the trees of a saga into the sequence of time, with the row of each cause: the rows of every export."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.inspect.timeline.drawing import short_id
from shared.inspect.timeline.told_fields import ToldFields
from shared.inspect.timeline.tree import Ahead, Message, Node, steps

CLIENT: Final = "client"
"""The lane of commands, which clients send."""


@dataclass(frozen=True, slots=True)
class Row:
    """A command, a message, or something that lies ahead. `cause` is the number of the row that it follows.

    `lane` is the context that says it. `title` is its type, `told` are its told fields.
    """

    lane: str
    title: str
    cause: int | None
    at: datetime | None = None
    after: timedelta | None = None
    told: tuple[str, ...] = ()
    message: Message | None = None
    ahead: Ahead | None = None


def rows_of(roots: Iterable[Node], told_fields: ToldFields) -> tuple[Row, ...]:
    """The rows by time; each command stands before its first consequence, and what lies ahead at the end."""
    parents: list[Node] = []
    found: list[tuple[Node, Node | None, timedelta | None]] = []
    for step in steps(roots):
        del parents[step.depth :]
        found.append((step.node, parents[-1] if parents else None, step.after))
        parents.append(step.node)
    found.sort(key=lambda one: (one[0].ahead is not None, _at(one[0]), one[0].message is not None))
    numbers: dict[int, int] = {}
    rows: list[Row] = []
    for node, parent, after in found:
        cause = None if parent is None else numbers.get(id(parent))
        numbers[id(node)] = len(rows)
        rows.append(_row(node, cause, after, told_fields))
    return tuple(rows)


def _row(node: Node, cause: int | None, after: timedelta | None, told_fields: ToldFields) -> Row:
    message = node.message
    if node.ahead is not None:
        return Row(lane=node.ahead.context, title=node.ahead.text, cause=cause, told=node.ahead.then, ahead=node.ahead)
    if message is None:
        return Row(
            lane=CLIENT,
            title=f"command {short_id(node.id)}" if node.is_command else f"not in the log: {short_id(node.id)}",
            cause=None,
        )
    title = f"{message.type} is due" if message.kind == "due" else message.type
    told = tuple(told_fields.of(message).values())
    lane = CLIENT if message.kind == "cmd" else message.context
    return Row(lane=lane, title=title, cause=cause, at=message.at, after=after, told=told, message=message)


def _at(node: Node) -> float:
    """When it happened; for a node without a message, when its first consequence did."""
    if node.message is not None:
        return node.message.at.timestamp()
    return min((child.message.at.timestamp() for child in node.leads_to if child.message), default=0.0)
