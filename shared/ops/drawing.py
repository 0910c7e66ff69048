"""How a saga looks in a terminal, and the same lines without colour in a pipe."""

import re
from collections.abc import Iterable
from datetime import timedelta

from rich.table import Table
from rich.text import Text

from shared.ops.timeline import Node, Step, steps

SAD = re.compile(r"Cancel|Reject|Refus|Fail|Declin|Void|Releas|Refund")
PLACE_IN_STREAM = re.compile(r"([A-Z_]+)@\S+/([0-9]+)")


def draw(roots: Iterable[Node]) -> Table:
    """The trees of causes: when, how long after its cause, and what."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(justify="right", no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for step in steps(roots):
        table.add_row(_span(step.after), _span(step.took, sign="+"), _line(step))
    return table


def _line(step: Step) -> Text:
    line = Text()
    if step.last:
        line.append("".join("  " if last else "│ " for last in step.last[:-1]), style="dim")
        line.append("└ " if step.last[-1] else "├ ", style="dim")
    node, message = step.node, step.node.message
    if message is None:
        line.append("command " if node.is_command else "not in the log: ", style="bold" if node.is_command else "red")
        return line.append(PLACE_IN_STREAM.sub(r"\1 #\2", node.id))
    line.append(f"{message.context}.").append(message.type, style="yellow" if SAD.search(message.type) else "green")
    if message.kind == "due":
        line.append(" is due")
    for said in message.says.values():
        line.append(f" {said}", style="dim")
    if node.copies > 1:
        line.append(f" ({node.copies} copies)", style="red")
    return line


def _span(span: timedelta | None, sign: str = "") -> str:
    if span is None:
        return ""
    milliseconds = span / timedelta(milliseconds=1)
    if milliseconds < 1000:
        return f"{sign}{milliseconds:.1f} ms"
    if milliseconds < 100_000:
        return f"{sign}{milliseconds / 1000:.2f} s"
    return f"{sign}{timedelta(seconds=round(milliseconds / 1000))}"
