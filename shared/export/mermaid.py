"""Writes a saga as a Mermaid sequence diagram: an event travels to the context that reacts to it."""

from collections.abc import Sequence

from shared.config.units import span
from shared.export.rows import CLIENT, Row

ESCAPED = str.maketrans({"#": "#35;", ";": "#59;"})
"""Mermaid would take these for the begin of an entity and for the end of a statement."""


def sequence(rows: Sequence[Row]) -> list[str]:
    """The lines of the diagram. A frame at the end holds the rows that lie ahead."""
    lanes = {lane: f"L{number}" for number, lane in enumerate(dict.fromkeys(row.lane for row in rows))}
    lines = ["sequenceDiagram"]
    lines += [f"  {'actor' if lane == CLIENT else 'participant'} {name} as {lane}" for lane, name in lanes.items()]
    heard: set[tuple[int, str]] = set()
    for row in (row for row in rows if row.ahead is None):
        cause = None if row.cause is None else rows[row.cause]
        if (
            cause is not None
            and row.cause is not None
            and (row.cause, row.lane) not in heard
            and cause.lane != row.lane
        ):
            heard.add((row.cause, row.lane))
            lines.append(f"  {lanes[cause.lane]}->>{lanes[row.lane]}: {cause.title.translate(ESCAPED)}")
        if row.lane != CLIENT:
            after = f" ({span(row.after)})" if row.after is not None else ""
            lines.append(f"  Note over {lanes[row.lane]}: {' '.join((row.title, *row.told)).translate(ESCAPED)}{after}")
    ahead = [row for row in rows if row.ahead is not None]
    if ahead:
        lines.append("  rect rgb(240, 240, 240)")
        for row in ahead:
            then = f", then {' or '.join(row.told)}" if row.told else ""
            lines.append(f"  Note over {lanes[row.lane]}: … {(row.title + then).translate(ESCAPED)}")
        lines.append("  end")
    return lines
