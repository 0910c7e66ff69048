from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from shared.derived.topology import STREAMS
from shared.streams.file import StreamsFileError, parse_topology, read_topology

FILE = Path(__file__).parents[4] / "streams.yaml"
LINES = FILE.read_text().splitlines()


def line_of(text: str, *, after: str = "") -> int:
    """The number of the first line that begins with `text`, from the first that begins with `after`."""
    start = next(n for n, line in enumerate(LINES) if line.strip().startswith(after))
    return next(n for n, line in enumerate(LINES[start:], start + 1) if line.strip().startswith(text))


def mistakes(lines: Iterable[str]) -> list[str]:
    with pytest.raises(StreamsFileError) as caught:
        parse_topology("\n".join(lines).encode(), "streams.yaml")
    return list(caught.value.problems)


def mistakes_with(line: int, text: str) -> list[str]:
    """The mistakes when this text replaces the line."""
    return mistakes([*LINES[: line - 1], *text.split("\n"), *LINES[line:]])


def test_the_file_of_this_shop_is_right() -> None:
    topology = read_topology(FILE)
    assert topology.partitions == 4
    assert tuple(topology.streams) == STREAMS
    assert topology.streams["COMMANDS"]["max_msg_size"] == 64 * 1024
    assert topology.streams["COMMANDS"]["duplicate_window"] == 600 * 10**9
    assert topology.streams["EVENTS"]["deny_delete"] is True
    assert topology.consumers.priority_timeout == timedelta(seconds=1)
    assert topology.consumers.ack_wait == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("partitions", "partitons: 4", "partitons is not known here (did you mean 'partitions'?)"),
        ("partitions", "partitions: 0", "partitions: '0' is not a whole number from 1 to 256"),
        ("partitions", "partitions: 04", "partitions: '04' is not a whole number from 1 to 256"),
        ("partitions", 'partitions: "4"', "partitions: '4' is not a whole number from 1 to 256"),
        ("partitions", "partitions: [4]", "partitions is not a single value"),
        (
            "description",
            "    description: no",
            "streams.COMMANDS.description: YAML reads 'no' as yes or no; put it in quotes",
        ),
        (
            "description",
            "    description: 2026-11-21",
            "streams.COMMANDS.description: YAML reads '2026-11-21' as a date; put it in quotes",
        ),
        ("description", "    description:", "streams.COMMANDS.description: YAML reads '' as nothing; put it in quotes"),
        (
            "retention",
            "    retention: workqueu",
            "streams.COMMANDS.retention: 'workqueu' is not one of limits, workqueue, interest",
        ),
        (
            "max_msgs",
            "    max_msgs: 12:30",
            "streams.COMMANDS.max_msgs: '12:30' is not a whole number from 1 to 1000000000000"
            " (YAML reads it as a number in base 60)",
        ),
        (
            "max_msg_size",
            "    max_msg_size: 64K",
            "streams.COMMANDS.max_msg_size: '64K' is not a size",
        ),
        (
            "max_age",
            "    max_age: 12:30",
            "streams.COMMANDS.max_age: '12:30' is not a duration",
        ),
        (
            "max_age",
            "    max_age: 600",
            "streams.COMMANDS.max_age: '600' is not a duration: write it like 15m",
        ),
        ("priority_timeout", "  priority_timeout: 0s", "consumers.priority_timeout: it must be longer than 0s"),
        ("allow_direct", "    allow_direct: yes", "streams.COMMANDS.allow_direct: 'yes' is not true or false"),
        ("storage", "    no: file", "streams.COMMANDS.no: a key must be text; put it in quotes"),
        (
            "storage",
            "    subjects: [a]",
            "streams.COMMANDS.subjects follows from the code of the contexts; leave it out",
        ),
        (
            "io.nats.monitor.subjects-warn",
            "      io.nats.monitor.subjects-warn: 50000",
            "streams.COMMANDS.metadata.io.nats.monitor.subjects-warn: YAML reads '50000' as a number; put it in quotes",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_line(key: str, text: str, problem: str) -> None:
    line = line_of(f"{key}:")
    said = mistakes_with(line, text)
    assert [one for one in said if one.startswith(f"streams.yaml:{line}: {problem}")]


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    line = line_of("max_age:")
    assert mistakes_with(line, "    max_age: 7d\n    max_age: 1d") == [
        f"streams.yaml:{line + 1}: streams.COMMANDS.max_age stands here for the second time, first in line {line}"
    ]


def test_every_mistake_is_reported_at_once_in_the_order_of_the_file() -> None:
    text = "partitions: four\nstreams:\n  COMMAND:\n    retention: no\nconsumers:\n  ack_wait: 10m"
    assert mistakes(text.splitlines()) == [
        "streams.yaml:1: partitions: 'four' is not a whole number from 1 to 256",
        "streams.yaml:3: streams.COMMAND is not known here (did you mean 'COMMANDS'?)",
        *(f"streams.yaml:3: streams.{name} is missing" for name in STREAMS),
        *(
            f"streams.yaml:6: consumers.{key} is missing"
            for key in ("priority_timeout", "max_waiting", "max_ack_pending")
        ),
    ]


@pytest.mark.parametrize(
    ("stream", "key", "text", "problem"),
    [
        ("COMMANDS", "retention:", "    retention: limits", "COMMANDS.retention must be workqueue"),
        ("COMMANDS", "discard:", "    discard: old", "COMMANDS.discard must be new"),
        ("COMMANDS", "max_msgs:", "", "COMMANDS.max_msgs is missing"),
        (
            "COMMANDS",
            "duplicate_window:",
            "    duplicate_window: 8d",
            "COMMANDS.duplicate_window must not be longer than max_age",
        ),
        ("EVENTS", "deny_purge:", "    deny_purge: false", "EVENTS.deny_purge must be true"),
        ("EVENTS", "allow_atomic:", "", "EVENTS.allow_atomic must be true"),
        ("TIMERS", "discard:", "    discard: new", "TIMERS.discard must be old"),
        (
            "TIMERS",
            "storage:",
            "    max_age: 7d",
            "TIMERS.max_age must not be set: it would drop deadlines that are still armed",
        ),
    ],
)
def test_what_chorus_cannot_work_without_is_asked_for(stream: str, key: str, text: str, problem: str) -> None:
    (said,) = mistakes_with(line_of(key, after=f"{stream}:"), text)
    assert said.startswith(f"streams.yaml:{line_of(f'{stream}:') + 1}: streams.{problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "streams.yaml:1: the file is empty"),
        ("# nothing", "streams.yaml:1: the file is empty"),
        ("- a", "streams.yaml:1: the file is not a mapping of keys to values"),
        ("a: b\n\tc: d", "streams.yaml:2: found character '\\t' that cannot start any token"),
        ("a: [", "streams.yaml:1: expected the node content, but found '<stream end>'"),
        ("partitions: 4\n---\nb: 1", "streams.yaml:2: but found another document"),
        ("a: &a [*b]", "streams.yaml:1: found undefined alias 'b'"),
        (
            "a: \x00",
            "streams.yaml:1: not YAML that can be read: unacceptable character #x0000",
        ),
        ("[" * 1000, "streams.yaml:1: not YAML that can be read: maximum recursion depth exceeded"),
    ],
)
def test_what_is_no_such_yaml_is_reported_with_its_line(text: str, problem: str) -> None:
    assert mistakes(text.split("\n"))[0].startswith(problem)


def test_a_file_that_is_not_there_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(StreamsFileError, match="No such file or directory; set CHORUS_STREAMS_FILE"):
        read_topology(tmp_path / "streams.yaml")
