"""The names in a new context: its aggregate, commands and events follow from its own name."""

import keyword
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.context import Context
from shared.new.changes import NewError
from shared.new.heard import Heard

NAME: Final = re.compile(r"[a-z][a-z0-9]{0,23}")
OF_THE_PACKAGE: Final = {"demo", "kernel", "sagas"}
"""Modules that a package of contexts may have beside its contexts."""

PROCESSES: Final = {"chorus", "nats"}
"""Processes that run beside the workers."""

IMPORTED: Final = {
    "Aggregate", "Annotated", "Context", "Decider", "Literal", "Policy", "Settings", "Struct", "TypeAlias",
}  # fmt: skip
"""Names that the templates import; a class of the context must not hide it."""


class Names(NamedTuple):
    """The names in a context `cars` are those of its aggregate, a `car`."""

    context: str
    aggregate: str

    @property
    def camel(self) -> str:
        """The class of the aggregate's state."""
        return self.aggregate.capitalize()

    @property
    def a_or_an(self) -> str:
        """The word before the aggregate in a sentence."""
        return "an" if self.aggregate[0] in "aeiou" else "a"

    @property
    def events(self) -> tuple[str, str]:
        """The events that the context publishes."""
        return f"{self.camel}Reserved", f"{self.camel}Released"

    @property
    def commands(self) -> tuple[str, str]:
        """The commands that it decides."""
        return f"Reserve{self.camel}", f"Release{self.camel}"

    @property
    def classes(self) -> set[str]:
        """Every class that its modules declare or import from each other."""
        return {self.camel, f"{self.camel}Event", f"{self.camel}Command", *self.events, *self.commands}


def check_context_name(name: str) -> None:
    """Raise NewError unless this can be the name of a package, of a process and of a part of a subject."""
    if NAME.fullmatch(name) is None:
        lower = re.sub(r"[^a-z0-9]", "", name.lower()).lstrip("0123456789")[:24]
        meant = f", such as {lower!r}" if lower else ""
        raise NewError(f"{name!r} is no name: use a to z, then a to z and digits, 24 characters at the most{meant}")
    if name in OF_THE_PACKAGE:
        raise NewError(f"{name!r} is the name of a module that all contexts share; choose another name")
    if name in PROCESSES:
        raise NewError(f"{name!r} is the name of a process that runs beside the contexts; choose another name")
    if keyword.iskeyword(name) or keyword.iskeyword(singular(name).capitalize()):
        raise NewError(f"{name!r} is a word of Python; choose another name")


def names_of(context: str, heard: tuple[Heard, ...], members: Mapping[str, Context]) -> Names:
    """Return the names in a new context; raises NewError where one of them is taken."""
    names = Names(context, singular(context))
    if hidden := sorted(names.classes & IMPORTED):
        raise NewError(f"{context!r} needs a class {hidden[0]}, which hides one of Chorus; choose another name")
    publishers = {event.__name__: one.name for one in members.values() for event in one.publishes}
    for event in names.events:
        if event in publishers:
            raise NewError(
                f"{context!r} needs an event {event}, which {publishers[event]} publishes; choose another name"
            )
    for one in heard:
        if one.event in names.classes | IMPORTED:
            raise NewError(f"{context!r} has a class {one.event} of its own and cannot hear one; choose another name")
    return names


def names_of_read_side(context: str, heard: tuple[Heard, ...]) -> Names:
    """Return the names in a new read side; raises NewError where one of them is taken."""
    names = Names(context, singular(context))
    events = [one.event for one in heard]
    taken = {f"{names.camel}Row", "On", "Struct", "Table", "Told"}
    for event in events:
        if event in taken:
            raise NewError(f"{context!r} has a class {event} of its own and cannot hear one; choose another name")
        if events.count(event) > 1:
            raise NewError(f"two contexts say {event}, and a module can have one class of that name; hear one of them")
    return names


def singular(name: str) -> str:
    """Return the word for one of what a context is named after, where its end tells."""
    for end, one in (("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("ies", "y")):
        if name.endswith(end) and len(name) > len(end) + 1:
            return name.removesuffix(end) + one
    return name[:-1] if re.fullmatch(r".{2,}[^sui]s", name) else name


def snake(event: str) -> str:
    """Return an event's name as a part of a function's name: `RoomReserved` is `room_reserved`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", event).lower()
