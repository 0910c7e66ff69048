"""Turns a panel into the notes and arrows of an event-storming board, in four columns.

The columns are the events that are heard, the reactions to them, the commands, and the events that are published. An
event that the context itself hears stands in the first and in the last column, so every arrow points to the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shared.flow.selection import Panel, sentence

NoteKind: TypeAlias = Literal["event", "command", "policy", "timer", "call", "client", "request"]

COLUMNS = 4
Arrow: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Note:
    """One note: its column, its text, and small print below it. `is_marked` is a pivot or an end of a saga."""

    column: int
    kind: NoteKind
    text: str
    small: tuple[str, ...] = ()
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """The notes of a context, in the sequence in which they are declared, and the arrows between their places.

    `names` has the full name of each note, and `labels` the texts above and below some arrows.
    """

    context: str
    notes: tuple[Note, ...]
    arrows: tuple[Arrow, ...]
    names: tuple[str, ...] = ()
    labels: Mapping[Arrow, tuple[str, str]] = field(default_factory=dict)


def board(panel: Panel) -> Board:
    """The board of a panel."""
    notes: dict[tuple[int, str], Note] = {}
    arrows: dict[tuple[tuple[int, str], tuple[int, str]], None] = {}

    def add(name: str, note: Note) -> tuple[int, str]:
        notes.setdefault((note.column, name), note)
        return note.column, name

    for command, causes in panel.commands.items():
        commanded = add(command, Note(2, "command", command.partition(".")[2]))
        for cause in causes:
            reaction = add(f"{cause.kind} {cause.name}", Note(1, cause.kind, sentence(cause)))
            arrows[reaction, commanded] = None
            if cause.on:
                source, _, event = cause.on.partition(".")
                heard = Note(0, "event", event, () if source == panel.context else (f"of {source}",))
                arrows[add(cause.on, heard), reaction] = None
        for event in panel.leads_to[command]:
            small = tuple(filter(None, panel.notes.get(event, "").split("; ")))
            is_marked = any(note == "pivot" or note.startswith("end: ") for note in small)
            arrows[commanded, add(event, Note(3, "event", event.partition(".")[2], small, is_marked))] = None
    numbers = {key: number for number, key in enumerate(notes)}
    return Board(
        panel.context,
        tuple(notes.values()),
        tuple((numbers[one], numbers[other]) for one, other in arrows),
        tuple(name for _, name in notes),
    )
