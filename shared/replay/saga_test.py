"""Writes a recorded saga as a test in virtual time, after it has been played once to see that it comes out the same."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from pprint import pformat
from typing import Any, Final, NamedTuple

from shared.ports.broker import BrokerError
from shared.replay.saga_recording import Recording, Step
from shared.simulation.testing import Simulation, StillBusyError, simulation
from shared.wire.messages import MSG_ID

SEEDS: Final = range(1, 6)
"""Another seed gives another sequence where contexts race."""

LITERAL_AT_MOST: Final = 88
CONTENT_AT_MOST: Final = 76

Facts = Mapping[str, Sequence[str]]
Contents = Mapping[str, Mapping[str, Any]]


class Played(NamedTuple):
    """A recording that came out the same with this seed.

    `exact` are the contexts whose facts came in the recorded sequence. `goes_on` is true where more facts followed than
    are recorded. `contents` are the fields of events that came out the same.
    """

    recording: Recording
    seed: int
    exact: frozenset[str]
    goes_on: bool
    contents: Contents


class ComesOutOtherwiseError(Exception):
    """The saga comes out otherwise in virtual time; the text says how."""


def played(*recordings: Recording) -> Played:
    """Play the recordings until one comes out as recorded; raises ComesOutOtherwiseError.

    The first whose facts come in the recorded sequence is taken. Otherwise it is the one with the same facts in which
    the most contexts say theirs in that sequence.
    """
    otherwise = ""
    for recording in recordings:
        same_facts: list[Played] = []
        for seed in SEEDS:
            try:
                found, contents = _play(recording, seed)
            except (BrokerError, StillBusyError) as error:
                otherwise = otherwise or str(error)
                continue
            facts = recording.facts
            exact = frozenset(name for name in facts if list(found[name][: len(facts[name])]) == list(facts[name]))
            goes_on = any(len(found[name]) > len(facts[name]) for name in facts)
            if not any(Counter(facts[name]) - Counter(found[name]) for name in facts):
                same_facts.append(Played(recording, seed, exact, goes_on, contents))
            if len(exact) == len(facts):
                break
            otherwise = otherwise or _otherwise(facts, found)
        if same_facts:
            return max(same_facts, key=lambda one: len(one.exact))
    raise ComesOutOtherwiseError(otherwise)


def source(saga: Played) -> str:
    """The text of a module with the test."""
    return "\n".join(_lines(saga)) + "\n"


def _play(recording: Recording, seed: int) -> tuple[Facts, Contents]:
    """The facts that come out, and the fields of `recording.contents` that are the same again."""
    with simulation(seed=seed, partitions=recording.partitions, **_settings(recording)) as running:
        running.put_clock(recording.steps[0].at - running.now)
        for step in recording.steps:
            _let_pass(running, step.at - running.now)
            running.publish(step.subject, step.body, {MSG_ID: step.message_id} if step.message_id else {})
        _let_pass(running, recording.ends - running.now)
        running.run_until_quiet()
        facts = {name: running.facts(recording.key, of=name) for name in recording.facts}
        once = [kind for kind, times in Counter(running.facts(recording.key)).items() if times == 1]
        played = {kind: running.content(recording.key, kind) for kind in recording.contents if kind in once}
    return facts, {kind: _same(recording.contents[kind], content) for kind, content in played.items()}


def _same(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Times differ, and what follows from them; a release in between may have added fields."""
    return {name: value for name, value in recorded.items() if name in found and found[name] == value}


def _let_pass(running: Simulation, by: timedelta) -> None:
    running.advance(seconds=max(by.total_seconds(), 0))


def _otherwise(recorded: Facts, found: Facts) -> str:
    name = next(name for name, facts in recorded.items() if list(found[name][: len(facts)]) != list(facts))
    return f"{name} said {', '.join(recorded[name])}; in virtual time it says {', '.join(found[name]) or 'nothing'}"


def _settings(recording: Recording) -> dict[str, Any]:
    """The settings of contexts that were set. A path of another machine means nothing in a test."""
    return {name: value for name, value in recording.settings.items() if not isinstance(value, Path)}


def _lines(saga: Played) -> Iterator[str]:
    recording = saga.recording
    settings = "".join(f", {name}={_spelled(value)}" for name, value in sorted(_settings(recording).items()))
    first = recording.steps[0].at.isoformat()
    yield f'"""The saga {recording.key} as it was recorded, in virtual time."""'
    yield ""
    if saga.goes_on and len(saga.exact) < len(recording.facts):
        yield "from collections import Counter"
    yield "from datetime import datetime" + (", timedelta" if "timedelta(" in settings else "")
    yield ""
    yield "from shared.simulation.testing import simulation"
    yield ""
    yield ""
    yield f"def test_saga_{re.sub('[^a-z0-9]+', '_', recording.key.lower())}() -> None:"
    yield f"    with simulation(seed={saga.seed}, partitions={recording.partitions}{settings}) as running:"
    yield f'        running.put_clock(datetime.fromisoformat("{first}") - running.now)'
    for step in recording.steps:
        if step.at > recording.steps[0].at:
            yield from _until(step.at.isoformat())
        yield from _published(step)
    yield from _until(recording.ends.isoformat())
    yield "        running.run_until_quiet()"
    for name, facts in recording.facts.items():
        yield from _asserted(saga, name, facts)
    for event, content in saga.contents.items():
        told = {name: value for name, value in content.items() if value != recording.key}
        if told:
            yield f'        content = running.content("{recording.key}", "{event}")'
            yield f"        assert {_indented(told)}.items() <= content.items()"


def _asserted(saga: Played, name: str, facts: Sequence[str]) -> Iterator[str]:
    facts_now = f'running.facts("{saga.recording.key}", of="{name}")'
    is_exact = name in saga.exact
    if is_exact:
        yield f"        assert {facts_now}{f'[:{len(facts)}]' if saga.goes_on else ''} == ["
    elif saga.goes_on:
        yield f"        assert Counter({facts_now}) >= Counter(["
    else:
        yield f"        assert sorted({facts_now}) == ["
    yield from (f'            "{event}",' for event in (facts if is_exact else sorted(facts)))
    yield "        ])" if saga.goes_on and not is_exact else "        ]"


def _indented(content: Mapping[str, Any]) -> str:
    return pformat(content, width=CONTENT_AT_MOST, sort_dicts=False).replace("\n", "\n" + " " * len("        assert "))


def _until(at: str) -> Iterator[str]:
    yield f'        until = datetime.fromisoformat("{at}")'
    yield "        running.advance(seconds=max((until - running.now).total_seconds(), 0))"


def _published(step: Step) -> Iterator[str]:
    yield "        running.publish("
    yield f'            "{step.subject}",'
    pieces = [step.body[at : at + LITERAL_AT_MOST] for at in range(0, len(step.body), LITERAL_AT_MOST)] or [b""]
    yield from (f"            {piece!r}" for piece in pieces[:-1])
    yield f"            {pieces[-1]!r},"
    if step.message_id:
        yield f'            {{"{MSG_ID}": {step.message_id!r}}},'
    yield "        )"


def _spelled(value: Any) -> str:
    return f"timedelta(seconds={value.total_seconds()!r})" if isinstance(value, timedelta) else repr(value)
