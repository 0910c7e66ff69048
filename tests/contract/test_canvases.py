"""A canvas says what the code does: its tables name every event, command and policy of its context, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from shared.context import Command, Context
from shared.wire.engine_events import ENGINE_EVENTS
from tests.contract.declared import contexts

ROOT = Path(__file__).parents[2]
LINES_AT_MOST = 60
LINES_OF_A_FURTHER_AGGREGATE = 10
"""A context of more than two aggregates needs a longer canvas, or none of them is described."""
SECTIONS = ("Publishes", "Reads", "Whenever", "Compensations", "Invariants")

CANVASES = {path.parent.name: path.read_text() for path in sorted(ROOT.glob("contexts/*/README.md"))}
DESCRIBED = [context for context in contexts() if context.name in CANVASES]

NAME = re.compile(r"`([^`]+)`")
NAME_ON_THE_WIRE = re.compile(r"`(?:[a-z]+\.)?([A-Z][a-z][A-Za-z]*)`")


def section(context: Context, title: str) -> str:
    """The text under one heading."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", CANVASES[context.name], re.MULTILINE | re.DOTALL)
    return str(found)


def rows(context: Context, title: str) -> Iterator[list[str]]:
    """The cells of every row of the table under a heading, its head left out."""
    lines = [line for line in section(context, title).splitlines() if line.startswith("|")]
    return ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:])


def names(cell: str) -> list[str]:
    """The texts between backticks."""
    return NAME.findall(cell)


def reactions(context: Context) -> list[list[str]]:
    """The whenever-table as it must be: each event, its policy, and the commands of the policy."""
    heard = [(policy.event.__name__, policy.whenever) for policy in context.policies]
    due = [(timer.name, timer.whenever_due) for timer in context.timers]
    return [
        [name, whenever.__name__, *sorted(commands_of(whenever.__annotations__["return"]))]
        for name, whenever in heard + due
    ]


def commands_of(returned: object) -> set[str]:
    """The names in `list[ReserveStock]` or `list[ReserveStock | ReleaseStock]`."""
    (said,) = get_args(returned)
    return {command.__name__ for command in get_args(said) or (said,)}


def name_of(message: type[Command]) -> str:
    return message.__name__


@pytest.mark.parametrize("name", CANVASES)
def test_a_canvas_fits_on_a_screen_and_has_the_sections_of_every_other(name: str) -> None:
    canvas = CANVASES[name]
    aggregates = sum(len(context.aggregates) for context in DESCRIBED if context.name == name)
    assert len(canvas.splitlines()) <= LINES_AT_MOST + LINES_OF_A_FURTHER_AGGREGATE * max(0, aggregates - 2)
    assert "**Promise.**" in canvas
    assert tuple(re.findall(r"^## (.+)$", canvas, re.MULTILINE)) == SECTIONS


@pytest.mark.parametrize("context", DESCRIBED, ids=lambda context: context.name)
def test_a_canvas_lists_every_event_that_is_published(context: Context) -> None:
    listed = [name for cells in rows(context, "Publishes") for name in names(cells[0])]
    assert sorted(listed) == sorted(map(name_of, context.publishes))


@pytest.mark.parametrize("context", DESCRIBED, ids=lambda context: context.name)
def test_a_canvas_lists_every_event_that_is_read_and_every_command_that_is_accepted(context: Context) -> None:
    listed = [name for name in names(section(context, "Reads")) if NAME_ON_THE_WIRE.fullmatch(f"`{name}`")]
    heard = {f"{policy.source}.{policy.event.__name__}" for policy in context.policies}
    assert sorted(listed) == sorted([*heard, *map(name_of, context.accepts)])


@pytest.mark.parametrize("context", DESCRIBED, ids=lambda context: context.name)
def test_a_canvas_has_the_whole_whenever_table(context: Context) -> None:
    listed = [
        [names(event)[0], *names(policy), *sorted(names(commands))]
        for event, policy, commands in rows(context, "Whenever")
    ]
    assert sorted(listed) == sorted(reactions(context))


@pytest.mark.parametrize("context", DESCRIBED, ids=lambda context: context.name)
def test_a_canvas_says_what_arms_each_timer(context: Context) -> None:
    listed = {names(cells[0])[0]: names(cells[0])[1] for cells in rows(context, "Whenever") if "timer" in cells[0]}
    assert listed == {timer.name: name_of(timer.armed_by) for timer in context.timers}


@pytest.mark.parametrize("context", DESCRIBED, ids=lambda context: context.name)
def test_a_canvas_names_no_message_that_is_not_there(context: Context) -> None:
    known = {
        *(name_of(event) for other in contexts() for event in other.publishes),
        *(name_of(command) for decider in context.deciders for command in decider.commands),
        *(aggregate.state.__name__ for aggregate in context.aggregates),
        *(policy.event.__name__ for policy in context.policies),
        *(timer.name for timer in context.timers),
        *map(name_of, ENGINE_EVENTS),
    }
    assert set(NAME_ON_THE_WIRE.findall(CANVASES[context.name])) - known == set()


@pytest.mark.parametrize("context", DESCRIBED, ids=lambda context: context.name)
def test_a_compensating_policy_says_what_it_compensates(context: Context) -> None:
    policies = {whenever.__name__ for whenever in (policy.whenever for policy in context.policies)}
    for policy in context.policies:
        said = policy.whenever.__doc__ or ""
        named = set(re.findall(r"\bwhenever_\w+", said))
        assert named <= policies, policy.whenever.__name__
        assert not named or "Compensates" in said, policy.whenever.__name__
