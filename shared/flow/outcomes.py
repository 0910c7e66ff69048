"""Derives which events each command can lead to, from the source of the deciders.

A decider is a pure function that matches on its command. For each command this module reads the cases that are for it,
and the functions of the context that they call, and collects the events that are constructed there. A function that is
handed the command is read for this command only. An event that the context constructs elsewhere, such as in a method,
counts for every command of its aggregate; so does every event of a decider whose source cannot be read.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache, partial
from types import FunctionType, ModuleType
from typing import Any

from shared.context import Command, Context, Decider

CONTEXTS_REMEMBERED = 100
"""Reading the source of a context takes some milliseconds, and the console does so for every page."""


def outcomes(context: Context) -> Mapping[str, frozenset[str]]:
    """The names of the events that each command of a context can lead to, by the command's name."""
    return _of_deciders(context.deciders)


@lru_cache(maxsize=CONTEXTS_REMEMBERED)
def _of_deciders(deciders: tuple[Decider, ...]) -> Mapping[str, frozenset[str]]:
    read = {command.__name__: _of_command(decider, command) for decider in deciders for command in decider.commands}
    seen = {event for events in read.values() for event in events}
    for decider in deciders:
        unseen = {event.__name__ for event in decider.aggregate.events} - seen
        elsewhere = unseen & _named_near(decider) if unseen else unseen
        for command in decider.commands:
            read[command.__name__] |= elsewhere
    return read


def _of_command(decider: Decider, command: type[Command]) -> frozenset[str]:
    events = {event.__name__ for aggregate in decider.kinds for event in aggregate.events}
    decide = _unwrapped(decider.decide)
    source = None if decide is None else _functions(decide.__module__).get(decide.__name__)
    if decide is None or source is None or not source.args.args:
        return frozenset(events)
    reader = _Reader(command, events)
    reader.read(decide, source.args.args[0].arg)
    return frozenset(reader.found)


def _named_near(decider: Decider) -> set[str]:
    """The classes that the module of the decision names as values, so not in annotations and patterns."""
    decide = _unwrapped(decider.decide)
    waiting: list[ast.AST] = [] if decide is None else [_tree(decide.__module__)]
    names: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name | ast.Attribute) and decide is not None:
            named = _called(node, sys.modules[decide.__module__])
            names |= {named.__name__} if isinstance(named, type) else set()
        if not isinstance(node, ast.MatchClass):
            typed = {id(getattr(node, "annotation", None)), id(getattr(node, "returns", None))}
            waiting += [child for child in ast.iter_child_nodes(node) if id(child) not in typed]
    return names


def _unwrapped(decide: Callable[..., Any]) -> FunctionType | None:
    while isinstance(decide, partial):
        decide = decide.func
    function = inspect.unwrap(decide)
    return function if isinstance(function, FunctionType) else None


@cache
def _functions(module: str) -> dict[str, ast.FunctionDef]:
    """The functions at the top of a module, by name; none where it has no source."""
    return {node.name: node for node in _tree(module).body if isinstance(node, ast.FunctionDef)}


@cache
def _tree(module: str) -> ast.Module:
    try:
        return ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError):
        return ast.Module([], [])


class _Reader:
    """Reads functions for one command, and collects the events that they construct in `found`."""

    def __init__(self, command: type[Command], events: set[str]) -> None:
        self.found: set[str] = set()
        self._command = command
        self._events = events
        self._seen: set[tuple[FunctionType, str]] = set()

    def read(self, function: FunctionType, argument: str) -> None:
        """Read a function; `argument` is its name for the command, or empty when it is not handed the command."""
        if (function, argument) not in self._seen:
            self._seen.add((function, argument))
            for statement in _functions(function.__module__)[function.__name__].body:
                self._read(statement, function, argument)

    def _read(self, node: ast.AST, function: FunctionType, argument: str) -> None:
        if isinstance(node, ast.Call):
            self._call(node, function, argument)
        for child in self._parts(node, function, argument):
            self._read(child, function, argument)

    def _parts(self, node: ast.AST, function: FunctionType, argument: str) -> Iterator[ast.AST]:
        """The parts of a node; of a match on the command, the cases that the command may reach."""
        index = _index_of(node.subject, argument) if isinstance(node, ast.Match) and argument else None
        if isinstance(node, ast.Match) and index is not None:
            for case in node.cases:
                if self._may_match(case.pattern, index, sys.modules[function.__module__]):
                    yield from case.body
        else:
            yield from ast.iter_child_nodes(node)

    def _may_match(self, pattern: ast.pattern, index: int, module: ModuleType) -> bool:
        """Whether the command may match; `index` is where it is in a tuple that is matched."""
        match pattern:
            case ast.MatchOr(patterns):
                return any(self._may_match(one, index, module) for one in patterns)
            case ast.MatchAs(ast.pattern() as named):
                return self._may_match(named, index, module)
            case ast.MatchSequence(patterns) if index < len(patterns):
                return self._may_match(patterns[index], index, module)
            case ast.MatchClass(cls):
                kind = _called(cls, module)
                return not isinstance(kind, type) or issubclass(self._command, kind)
            case _:
                return True

    def _call(self, node: ast.Call, function: FunctionType, argument: str) -> None:
        called = _called(node.func, sys.modules[function.__module__])
        if isinstance(called, type) and called.__name__ in self._events:
            self.found.add(called.__name__)
        elif isinstance(called, FunctionType) and _is_ours(called, function.__module__):
            names = [parameter.arg for parameter in _functions(called.__module__)[called.__name__].args.args]
            given = [name for name, value in zip(names, node.args, strict=False) if _name(value) == argument]
            given += [word.arg for word in node.keywords if word.arg and _name(word.value) == argument]
            self.read(called, given[0] if argument and given else "")


def _called(node: ast.expr, module: ModuleType) -> Any:
    """The class or function that a call or a pattern names, also through its module (`thing.undone(…)`)."""
    if isinstance(node, ast.Attribute):
        return getattr(getattr(module, _name(node.value), None), node.attr, None)
    return getattr(module, _name(node), None)


def _index_of(subject: ast.expr, argument: str) -> int | None:
    """The index of the command in the subject of a match; None when it is not matched."""
    parts = subject.elts if isinstance(subject, ast.Tuple) else [subject]
    return next((index for index, part in enumerate(parts) if _name(part) == argument), None)


def _is_ours(function: FunctionType, module: str) -> bool:
    """Whether a function belongs to the same context, and stands at the top of its module."""
    return function.__module__.rpartition(".")[0] == module.rpartition(".")[0] and function.__name__ in _functions(
        function.__module__
    )


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""
