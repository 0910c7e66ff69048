"""A decision that the code at hand would take otherwise: the events as recorded, the events now, field by field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, inspect

from shared.context import Rejected
from shared.wire.engine_events import CommandRejected


class Decided(NamedTuple):
    """One event of a decision: its type, the aggregate that it is of, and its content."""

    type: str
    aggregate: str
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The event as a person reads it."""
        return f"{self.type} of {self.aggregate}" if self.aggregate else self.type


class Difference(NamedTuple):
    """An input and both outcomes of it. `problem` says why there is no new outcome."""

    kind: str
    input: str
    type: str
    key: str
    recorded: Sequence[Decided]
    now: Sequence[Decided]
    problem: str = ""

    def lines(self) -> Iterator[str]:
        """The difference as text: `-` is recorded, `+` is decided now, `~` has other content."""
        yield f"{self.kind} {self.type} {self.key} ({self.input})"
        if self.problem:
            yield from (f"  - {event.name}" for event in self.recorded)
            yield f"  + {self.problem}"
            return
        now = list(self.now)
        for before in self.recorded:
            after = next((one for one in now if one[:2] == before[:2]), None)
            if after is None:
                yield f"  - {before.name}"
                continue
            now.remove(after)
            if changes := [*changes_of(before.content, after.content, "$")]:
                yield f"  ~ {before.name}: {'; '.join(changes)}"
        yield from (f"  + {event.name} {msgspec.json.encode(event.content).decode()}" for event in now)

    def as_json(self) -> dict[str, Any]:
        """The difference as JSON."""
        return {
            "kind": self.kind,
            "input": self.input,
            "type": self.type,
            "key": self.key,
            "recorded": [event._asdict() for event in self.recorded],
            "now": [event._asdict() for event in self.now],
            "problem": self.problem,
        }


def without_times(event: Decided, kind: type[Struct] | None) -> Decided:
    """The event without its times: they are unknown once the input was stored again, after the decision."""
    if kind is None:
        return event
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    times = {field.encode_name for field in described.fields if _is_time(field.type)}
    return event._replace(content={name: value for name, value in event.content.items() if name not in times})


def _is_time(kind: inspect.Type) -> bool:
    match kind:
        case inspect.Metadata():
            return _is_time(kind.type)
        case inspect.UnionType():
            return any(map(_is_time, kind.types))
        case _:
            return isinstance(kind, inspect.DateTimeType)


def rejection(rejected: Rejected | CommandRejected) -> Decided:
    """The refusal of a command, as it is published."""
    content = {"reason": rejected.reason, "details": msgspec.to_builtins(rejected.details)}
    return Decided(CommandRejected.__name__, "", content)


def changes_of(before: Any, after: Any, path: str) -> Iterator[str]:
    """Each value that changed, by its JSON path."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from changes_of(before.get(name), after.get(name), f"{path}.{name}")
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from changes_of(one, other, f"{path}[{number}]")
    elif before != after:
        yield f"{path} {_text(before)} -> {_text(after)}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
