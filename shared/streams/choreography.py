"""Writes the choreography into streams.yaml: what each context accepts, hears, says and asks, and its deadlines.

The section consists of comments between two marker lines. All of it follows from the code of the contexts. `write`
replaces the section, and `is_current` tells whether the section still matches the code.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, TypeAlias

from shared.config.atomic_file import replace_file
from shared.context import Context, Effect, Member
from shared.readside.group import ReadSide
from shared.streams.file import StreamsFileError, read_topology
from shared.wire.engine_events import ENGINE_EVENTS

Members: TypeAlias = Mapping[str, Member]

BEGIN: Final = "# --- begin: choreography, generated from the code by `chorus streams write`; do not edit ---"
END: Final = "# --- end: choreography ---"
WIDTH: Final = 120
LABEL_WIDTH: Final = 11

_MARKER = re.compile(r"^# --- (begin|end): choreography\b[^\r\n]*", re.MULTILINE)
_SERVICE_SUBJECT = re.compile(r"""["']svc\.([A-Za-z0-9_-]+)\.""")


def is_current(file: Path, members: Members) -> bool:
    """Whether the section of the file matches the code; raises StreamsFileError."""
    text = _read(file)
    return _with_section(text, members, str(file)) == text


def write(file: Path, members: Members) -> bool:
    """Write the section, in its place or else at the end of the file; False when it was current already.

    Every other line stays as it is. The new file replaces the old one as a whole.

    Raises:
        StreamsFileError: the file is not a streams.yaml, or cannot be read or written.
    """
    read_topology(file)
    text = _read(file)
    written = _with_section(text, members, str(file))
    if written == text:
        return False
    try:
        replace_file(file, written.encode())
    except OSError as error:
        raise StreamsFileError((f"{file}: {error.strerror}; make it writable or set CHORUS_STREAMS_FILE",)) from error
    return True


def choreography(members: Members) -> list[str]:
    """The section as lines, without its markers: contexts in the order of their names."""
    contexts = {name: member for name, member in sorted(members.items()) if isinstance(member, Context)}
    engine = ", ".join(event.__name__ for event in ENGINE_EVENTS)
    lines = [f"# Every context also says {engine}.", "# An arrow leads to the contexts that hear an event."]
    for name, context in contexts.items():
        lines += ["#", f"# {name}", *_entry("accepts", [", ".join(kind.__name__ for kind in context.accepts)])]
        lines += _entry("hears", _heard_by(context))
        lines += _entry("says", _said_by(context, contexts))
        lines += _entry("asks", [_asked(effect) for effect in context.effects])
        lines += _entry("deadlines", [f"{timer.name}, armed by {timer.armed_by.__name__}" for timer in context.timers])
        lines += _entry("answers", [", ".join(endpoint.operation for endpoint in context.endpoints)])
        if context.endpoints:
            lines += _entry("asked by", [_askers(name, contexts)])
    for name, member in sorted(members.items()):
        if isinstance(member, ReadSide):
            lines += ["#", f"# {name}, the read side", *_groups_of(member), *_entry("says", _said_by(member, contexts))]
    return lines


def _groups_of(member: ReadSide) -> Iterator[str]:
    for group in member.groups:
        by_source: dict[str, dict[str, None]] = {}
        for source, event in group.hears:
            by_source.setdefault(source, {})[event.__name__] = None
        heard = [f"{group.name}: {source}: {', '.join(events)}" for source, events in sorted(by_source.items())]
        yield from _entry("hears", heard)
        yield from _entry("answers", [", ".join(query.name for query in group.queries)])
        yield from _entry("forwards", ["its events to an HTTP endpoint"] if group.forwards else [])
        yield from _entry("buckets", [", ".join(table.name for table in group.buckets)])


def _askers(name: str, contexts: Mapping[str, Context]) -> str:
    asking = {asker for asker, one in contexts.items() for effect in one.effects if name in services_of(effect)}
    return ", ".join(sorted(asking))


def services_of(effect: Effect) -> list[str]:
    """The services whose subjects, `svc.<service>.…`, stand as text in the module of the effect's call."""
    module = sys.modules.get(getattr(function_of(effect.call), "__module__", ""))
    try:
        source = "" if module is None else inspect.getsource(module)
    except (OSError, TypeError):  # The module has no source file.
        return []
    return sorted(set(_SERVICE_SUBJECT.findall(source)))


def _heard_by(context: Context) -> Iterator[str]:
    by_source: dict[str, dict[str, None]] = {}
    for policy in context.policies:
        by_source.setdefault(policy.source, {})[policy.event.__name__] = None
    return (f"{source}: {', '.join(events)}" for source, events in sorted(by_source.items()))


def _said_by(context: Context | ReadSide, contexts: Mapping[str, Context]) -> Iterator[str]:
    """The events of a context: first those that a context hears, each with its readers."""
    readers: dict[str, list[str]] = {
        event.__name__: [] for event in (*context.publishes, *(ENGINE_EVENTS if isinstance(context, Context) else ()))
    }
    for name, reader in contexts.items():
        for event in sorted({policy.event.__name__ for policy in reader.policies if policy.source == context.name}):
            readers.setdefault(event, []).append(name)
    yield from (f"{event} -> {', '.join(names)}" for event, names in readers.items() if names)
    unheard = [event.__name__ for event in context.publishes if not readers[event.__name__]]
    if unheard:
        yield f"heard by no context: {', '.join(unheard)}"


def _asked(effect: Effect) -> str:
    function = function_of(effect.call)
    name = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
    services = services_of(effect)
    asked = f"{' and '.join(services)} through {name}" if services else name
    outcomes = " or ".join(outcome.__name__ for outcome in effect.outcomes)
    return f"{asked}, on {effect.asked_by.__name__}: {outcomes}"


def function_of(call: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind partial applications."""
    while isinstance(call, partial):
        call = call.func
    return call


def _entry(label: str, texts: Iterable[str]) -> list[str]:
    """A label and its texts, folded at WIDTH; nothing when there is no text."""
    lines: list[str] = []
    for text in filter(None, texts):
        first = f"#   {'' if lines else label:{LABEL_WIDTH}}"
        rest = f"#   {'':{LABEL_WIDTH}}  "
        lines += wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return lines


def _with_section(text: str, members: Members, name: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    section = newline.join([BEGIN, *choreography(members), END])
    markers = list(_MARKER.finditer(text))
    match [marker[1] for marker in markers]:
        case []:
            end = newline if text.endswith("\n") else newline * 2
            return f"{text}{end}{section}{newline}"
        case ["begin", "end"]:
            return f"{text[: markers[0].start()]}{section}{text[markers[1].end() :]}"
        case _:
            line = text.count("\n", 0, markers[0].start()) + 1
            raise StreamsFileError(
                (
                    f"{name}:{line}: the choreography needs one begin and one end; delete its lines and run"
                    " chorus streams write",
                )
            )


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise StreamsFileError((f"{file}: not UTF-8: {error.reason}; save it as UTF-8",)) from error
    except OSError as error:
        raise StreamsFileError((f"{file}: {error.strerror}; set CHORUS_STREAMS_FILE",)) from error
