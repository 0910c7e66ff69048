"""Derives which events each command can lead to, from the source of the deciders.

A decider is a pure function that matches on its command. This module reads each case of that match and the functions of
the context that the case calls, and collects the events that they construct. A function that serves several commands
counts for all of them, so the result may name an event too many, and never one too few.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from types import FunctionType
from typing import Any

from shared.context import Context, Decider


def outcomes(context: Context) -> Mapping[str, frozenset[str]]:
    """The names of the events that each command of a context can lead to, by the command's name."""
    found: dict[str, frozenset[str]] = {}
    for decider in context.deciders:
        found |= _of_decider(decider)
    return found


def _of_decider(decider: Decider) -> dict[str, frozenset[str]]:
    events = {event.__name__ for aggregate in decider.kinds for event in aggregate.events}
    decide = _unwrapped(decider.decide)
    names = [command.__name__ for command in decider.commands]
    found: dict[str, set[str]] = {name: set() for name in names}
    for commands, body in _cases(_source(decide), names):
        constructed = _constructed(body, decide.__module__, events, set())
        for command in commands:
            found[command] |= constructed
    return {name: frozenset(constructed) for name, constructed in found.items()}


def _unwrapped(decide: Callable[..., Any]) -> FunctionType:
    while isinstance(decide, partial):
        decide = decide.func
    function = inspect.unwrap(decide)
    assert isinstance(function, FunctionType), f"{decide} is no function"
    return function


def _source(function: FunctionType) -> ast.FunctionDef:
    return _functions(function.__module__)[function.__name__]


@cache
def _functions(module: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _cases(function: ast.FunctionDef, names: list[str]) -> Iterator[tuple[Iterable[str], list[ast.stmt]]]:
    """Each case of the match on the command, with the commands that it is for; then the rest, for all of them."""
    command = function.args.args[0].arg
    matches = [node for node in function.body if isinstance(node, ast.Match) and _is_on(node.subject, command)]
    for match in matches:
        for case in match.cases:
            classes = {_name(one.cls) for one in ast.walk(case.pattern) if isinstance(one, ast.MatchClass)}
            yield classes & {*names}, case.body
    yield names, [statement for statement in function.body if statement not in matches]


def _is_on(subject: ast.expr, command: str) -> bool:
    parts = subject.elts if isinstance(subject, ast.Tuple) else [subject]
    return any(_name(part) == command for part in parts)


def _constructed(body: Iterable[ast.AST], module: str, events: set[str], seen: set[FunctionType]) -> set[str]:
    found: set[str] = set()
    for node in (node for statement in body for node in ast.walk(statement)):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(sys.modules[module], _name(node.func), None)
        if isinstance(called, type) and called.__name__ in events:
            found.add(called.__name__)
        elif isinstance(called, FunctionType) and called not in seen and _is_ours(called, module):
            seen.add(called)
            found |= _constructed(_source(called).body, called.__module__, events, seen)
    return found


def _is_ours(function: FunctionType, module: str) -> bool:
    """Whether a function belongs to the same context, and stands at the top of its module."""
    return function.__module__.rpartition(".")[0] == module.rpartition(".")[0] and function.__name__ in _functions(
        function.__module__
    )


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""
