"""Derives the context map: which context depends on which, by which pattern of domain-driven design, and in which file.

An event is published language: its publisher declares it for everybody. A reader keeps its own copy with only the
fields it needs, which is its anticorruption layer. A context that answers requests is an
open host, which others ask through an effect. A system outside stands behind a port, the `Protocol` that an effect is
given. A module of the package that several contexts import is their shared kernel.
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from shared.context import Call, Effect
from shared.flow.graph import Flow
from shared.readside.group import ReadSide
from shared.streams.choreography import function_of, services_of

Place: TypeAlias = Callable[[str, str], str]
SHARED_KERNEL: Final = "shared kernel"
OUTSIDE: Final = "the outside"
"""The name of an outside system behind no port."""


class Relation(NamedTuple):
    """`upstream` is depended upon by `downstream`; `through` are its events, the calls that ask it, or its names."""

    upstream: str
    downstream: str
    pattern: str
    through: tuple[str, ...]
    files: tuple[str, ...]


def relations(flow: Flow, sides: Iterable[ReadSide], package: Path, place: Place) -> Iterator[Relation]:
    """Every relation of the contexts and read sides in `package`; `place(context, file)` names a file of a context."""
    read_sides = tuple(sides)
    for (upstream, downstream), through in sorted(_heard(flow, read_sides).items()):
        yield Relation(
            upstream,
            downstream,
            "published language, with an anticorruption layer",
            tuple(through),
            (place(upstream, "events.py"), place(downstream, "upstream.py")),
        )
    yield from sorted(_asked(flow, place))
    yield from _kernel({*flow.contexts, *(side.name for side in read_sides)}, package, place)


def _heard(flow: Flow, read_sides: Iterable[ReadSide]) -> Mapping[tuple[str, str], dict[str, None]]:
    """The events by publisher and reader, in the sequence in which readers declare them."""
    events: dict[tuple[str, str], dict[str, None]] = {}
    for reaction in flow.reactions:
        source, _, event = reaction.on.partition(".")
        if reaction.kind == "policy" and source != reaction.context:
            events.setdefault((source, reaction.context), {})[event] = None
    for side in read_sides:
        for source, kind in (heard for group in side.groups for heard in group.hears):
            if source != side.name:
                events.setdefault((source, side.name), {})[kind.__name__] = None
    return events


def _asked(flow: Flow, place: Place) -> Iterator[Relation]:
    """The services and the outside systems by context that asks them."""
    calls: dict[tuple[str, str, str], dict[str, None]] = {}
    for context in flow.contexts.values():
        for effect in context.effects:
            function = function_of(effect.call)
            name = str(getattr(function, "__name__", type(function).__name__))
            for upstream, file in _answering(effect, place):
                calls.setdefault((upstream, context.name, file or place(context.name, "effects.py")), {})[name] = None
    for (upstream, downstream, file), through in calls.items():
        pattern = "open-host service" if upstream in flow.contexts else "outside system"
        files = dict.fromkeys((file, place(downstream, "effects.py")))
        yield Relation(upstream, downstream, f"{pattern}, with an anticorruption layer", tuple(through), tuple(files))


def _answering(effect: Effect, place: Place) -> list[tuple[str, str]]:
    """The services that an effect asks, or else the ports of outside systems; each with the file that shows it."""
    services = [(service, place(service, "worker.py")) for service in services_of(effect)]
    return services or _ports(effect.call) or [(OUTSIDE, "")]


def _ports(call: Callable[..., Any]) -> list[tuple[str, str]]:
    """The protocols that a call, or the object whose method it is, was given; and where each is declared."""
    function = function_of(call)
    owner = getattr(function, "__self__", None)
    given = function if owner is None else type(owner).__init__
    try:
        kinds = inspect.get_annotations(given, eval_str=True).values()
    except NameError:  # It names a type that is imported for type checkers only.
        return []
    return [
        (kind.__name__.lower(), f"{kind.__module__.replace('.', '/')}.py")
        for kind in kinds
        if getattr(kind, "_is_protocol", False) and kind is not Call
    ]


def _kernel(contexts: Iterable[str], package: Path, place: Place) -> Iterator[Relation]:
    """The modules beside the contexts that more than one imports; with the names that they import."""
    uses: dict[str, dict[str, set[str]]] = {}
    beside = {file.stem for file in package.glob("*.py")} - {"__init__"}
    for context in sorted(contexts):
        for file in sorted((package / context).glob("**/*.py")):
            for module, names in _imports(file, package.name):
                if module in beside:
                    uses.setdefault(module, {}).setdefault(context, set()).update(names)
    for module, users in sorted(uses.items()):
        if len(users) > 1:
            names = sorted(set[str]().union(*users.values()))
            declared_in = place(f"{module}.py", "").rstrip("/")
            yield Relation(module, ", ".join(users), SHARED_KERNEL, tuple(names), (declared_in,))


def _imports(file: Path, package: str) -> Iterator[tuple[str, list[str]]]:
    """The modules of the package itself from which a file imports, and the imported names."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            *parents, module = node.module.split(".")
            if parents and parents[-1] == package:
                yield module, [alias.name for alias in node.names]
