"""Draws a saga for a terminal; the lines in a pipe are the same without colour."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from rich.table import Table
from rich.text import Text

from shared.config.units import span
from shared.inspect.timeline.annotations import Annotations, JournalCheck
from shared.inspect.timeline.told_fields import ToldFields
from shared.inspect.timeline.tree import Ahead, Node, Step, steps

FAILURE_OR_UNDO = re.compile(r"Cancel|Reject|Refus|Fail|Declin|Void|Releas")
FALLBACK_ID = re.compile(r"([A-Z_]+)@\S+/([0-9]+)")

JOURNAL_NOTES: Mapping[JournalCheck, str] = {"absent": "not in {}'s journal", "other_body": "differs from {}'s journal"}


NO_ANNOTATIONS: Final = Annotations()
NAMES_ONLY: Final = ToldFields()


def draw(
    roots: Iterable[Node], annotations: Annotations = NO_ANNOTATIONS, told_fields: ToldFields = NAMES_ONLY
) -> Table:
    """Draw the trees of causes: time, time since the cause, and message. Parked and forged messages are red."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(justify="right", no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for step in steps(roots):
        table.add_row(span(step.after), span(step.took, sign="+"), line(step, annotations, told_fields))
    return table


def line(step: Step, annotations: Annotations = NO_ANNOTATIONS, told_fields: ToldFields = NAMES_ONLY) -> Text:
    """One node of a tree: the branches before it, its name, and what is to be said about it."""
    line = Text()
    if step.last:
        line.append("".join("  " if last else "│ " for last in step.last[:-1]), style="dim")
        line.append("└ " if step.last[-1] else "├ ", style="dim")
    node, message = step.node, step.node.message
    if node.ahead is not None:
        return line.append(ahead_text(node.ahead), style="dim")
    if message is None:
        line.append("command " if node.is_command else "not in the log: ", style="bold" if node.is_command else "red")
        return line.append(short_id(node.id))
    line.append("command " if message.kind == "cmd" else "", style="bold")
    line.append(f"{message.context}.").append(
        message.type, style="yellow" if FAILURE_OR_UNDO.search(message.type) else "green"
    )
    if message.kind == "due":
        line.append(" is due")
    for text in told_fields.of(message).values():
        line.append(f" {text}", style="dim")
    if node.copies > 1:
        line.append(f" ({node.copies} copies)", style="red")
    if message.strange:
        line.append(f" a stranger's: {message.strange}", style="red")
    if parked := annotations.parked.get(node.id):
        line.append(f" parked in {', '.join(parked)}", style="red")
    if note := JOURNAL_NOTES.get(annotations.journal.get(node.id, "same")):
        line.append(f" {note.format(message.context)}", style="red")
    return line


def short_id(message_id: str) -> str:
    """An id for people: the stream and the sequence of a message that has only a fallback id."""
    return FALLBACK_ID.sub(r"\1 #\2", message_id)


def ahead_text(ahead: Ahead) -> str:
    """The line of something ahead, with the events that may follow."""
    then = f", then {' or '.join(ahead.then)}" if ahead.then else ""
    return f"… {ahead.context}: {ahead.text}{then}"
