"""Compares the schemas of the code with the committed ones, and names each change that breaks a reader or a writer.

`backward`: the code at hand reads what was written before. `forward`: readers of the committed form read what the code
at hand writes. Old and new workers that run side by side need both of an event. Of a command or a request they need the
first: clients send the new form once all workers are new.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from shared.schemas.compare import Problem, problems
from shared.schemas.json_schema import Schema

Mode: TypeAlias = Literal["backward", "forward", "full"]
Schemas: TypeAlias = Mapping[str, Schema]

NEEDED: Final[Mapping[str, Mode]] = {"events": "full", "commands": "backward", "requests": "backward"}
"""The mode of each kind of message, unless another is asked for."""

_PATH = re.compile(r"(?P<context>[^/]+)/(?P<kind>[^/]+)/(?P<name>.+?)(?:\.(?P<until>[0-9]+))?\.json")


class Finding(NamedTuple):
    """A change that breaks somebody: which message, which field, in which direction, and the remedy."""

    message: str
    path: str
    direction: Literal["backward", "forward"]
    text: str
    remedy: str


class _Message(NamedTuple):
    context: str
    kind: str
    name: str
    until: int | None

    @property
    def label(self) -> str:
        form = "" if self.until is None else f", up to Schema-Version {self.until}"
        return f"{self.context}.{self.name}{form}"


def check(committed: Schemas, now: Schemas, mode: Mode | None = None) -> list[Finding]:
    """Each breaking change from the committed schemas, by path, to those of the code."""
    found: list[Finding] = []
    for path in sorted(committed):
        message = _message_at(path)
        wanted = mode or NEEDED[message.kind]
        if wanted != "forward":
            found += _backward(message, committed[path], now.get(_read_by(path, committed, now)))
        if wanted != "backward" and message.until is None:
            found += _forward(message, committed[path], now.get(path))
    return found


def _message_at(path: str) -> _Message:
    found = _PATH.fullmatch(path)
    assert found is not None, path
    return _Message(
        found["context"], found["kind"], found["name"], None if found["until"] is None else int(found["until"])
    )


def _read_by(path: str, committed: Schemas, now: Schemas) -> str:
    """The schema with which the code reads what was written as in `path`: an upcaster's, if the version was raised."""
    before = _message_at(path)
    if before.until is not None:
        return path
    raised = [other for other in now if other not in committed and _message_at(other)._replace(until=None) == before]
    older = [other for other in raised if _message_at(other).until is not None]
    return min(older, key=lambda other: _message_at(other).until or 0, default=path)


def _backward(message: _Message, before: Schema, now: Schema | None) -> Iterator[Finding]:
    if now is None:
        yield _gone(message)
        return
    # Events from before a field was added are still in the streams, so not all have every field.
    for problem in problems(now, before, writes_all=False):
        text = _BACKWARD.get(problem.reason, "{what} was {written}, is {read}").format(**_words(problem))
        yield Finding(message.label, problem.path, "backward", text, _REMEDIES[message.kind, "backward"])


def _forward(message: _Message, before: Schema, now: Schema | None) -> Iterator[Finding]:
    if now is None:
        return  # `_backward` has said so, or nobody asked for it.
    for problem in problems(before, now, writes_all=message.kind == "events"):
        text = _FORWARD.get(problem.reason, "{what} was {read}, is {written}").format(**_words(problem))
        yield Finding(message.label, problem.path, "forward", text, _REMEDIES[message.kind, "forward"])


def _gone(message: _Message) -> Finding:
    if message.kind == "events":
        text = "is gone, and journals and streams have such events"
    else:
        text = "is gone, and clients send it"
    remedy = "add the upcaster again" if message.until is not None else "declare it again"
    return Finding(message.label, "$", "backward", text, remedy)


def _words(problem: Problem) -> dict[str, str]:
    what = {"kind": "it", "value": "a value"}.get(problem.reason, problem.reason)
    return {"what": what, "written": problem.written, "read": problem.read}


_BACKWARD: Final = {
    "missing": "is new and required, and nothing that was written before has it",
    "optional": "is required now, and was optional",
    "unknown": "is gone, and is refused where it was written",
    "value": "{written} was possible, and is not read any more",
}
_FORWARD: Final = {
    "missing": "is gone, and readers need it",
    "optional": "is optional now, and readers need it",
    "unknown": "is new, and readers refuse unknown fields",
    "value": "{written} is new, and readers take only {read}",
}
_REMEDIES: Final[Mapping[tuple[str, str], str]] = {
    ("events", "backward"): "give a new field a default, or raise schema_version and declare an Upcaster",
    ("events", "forward"): "keep the field as it was and add another one, or give the event a new name",
    ("commands", "backward"): "keep reading what clients send: give a new field a default, and widen types only",
    ("commands", "forward"): "send the new form once all workers are new",
    ("requests", "backward"): "keep reading what clients send: give a new field a default, and widen types only",
    ("requests", "forward"): "send the new form once all workers are new",
}
