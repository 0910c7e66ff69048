"""Reads streams.yaml: every mistake is found in one go and told with its line.

YAML's own readings (`no` is false, `12:30` is 750, a second key replaces the first) are mistakes here.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from shared.ops.topology import COMMANDS, DEAD_LETTERS, EVENTS, STREAMS, TIMERS, ConsumerBounds, Topology
from shared.spelling import did_you_mean
from shared.units import DURATION_AT_MOST, nanoseconds, parse_duration, parse_size

PARTITIONS_AT_MOST = 256
COUNT_AT_MOST = 10**12
DURATION_NS_AT_MOST = nanoseconds(DURATION_AT_MOST)

_TAG = "tag:yaml.org,2002:"
_READ_BY_YAML_AS = {
    "bool": "yes or no",
    "int": "a number",
    "float": "a number",
    "null": "nothing",
    "timestamp": "a date",
}
_WHOLE = re.compile(r"[1-9][0-9]{0,12}")

Read: TypeAlias = Callable[[yaml.ScalarNode], Any]


class StreamsFileError(ValueError):
    """The file cannot be used; `problems` is a line per mistake, each with file and line."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_topology(file: Path) -> Topology:
    """What the file says; raises StreamsFileError."""
    try:
        return parse_topology(file.read_bytes(), str(file))
    except OSError as error:
        raise StreamsFileError((f"{file}: {error.strerror}; set CHORUS_STREAMS_FILE",)) from error


def parse_topology(text: bytes, name: str) -> Topology:
    """What the text says; `name` stands before the line of each mistake. Raises StreamsFileError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise StreamsFileError((f"{name}:{line}: {error.problem or error.context}",)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise StreamsFileError((f"{name}:1: not YAML that can be read: {str(error).splitlines()[0]}",)) from error
    file = _File(name)
    topology = file.topology(root) if root is not None else None
    if topology is None:
        raise StreamsFileError(tuple(file.problems()) or (f"{name}:1: the file is empty",))
    return topology


def _text(node: yaml.ScalarNode) -> str:
    meant = _READ_BY_YAML_AS.get(node.tag.removeprefix(_TAG))
    if meant is not None:
        raise ValueError(f"YAML reads {node.value!r} as {meant}; put it in quotes")
    return str(node.value)


def _one_of(*choices: str) -> Read:
    def read(node: yaml.ScalarNode) -> str:
        if node.value not in choices:
            raise ValueError(f"{node.value!r} is not one of {', '.join(choices)}{did_you_mean(node.value, choices)}")
        return str(node.value)

    return read


def _flag(node: yaml.ScalarNode) -> bool:
    if node.tag != f"{_TAG}bool" or node.value not in ("true", "false"):
        raise ValueError(f"{node.value!r} is not true or false")
    return bool(node.value == "true")


def _whole(at_most: int) -> Read:
    def read(node: yaml.ScalarNode) -> int:
        if node.tag != f"{_TAG}int" or _WHOLE.fullmatch(node.value) is None or int(node.value) > at_most:
            raise ValueError(f"{node.value!r} is not a whole number from 1 to {at_most}")
        return int(node.value)

    return read


def _size(node: yaml.ScalarNode) -> int:
    return parse_size(node.value)


def _duration(node: yaml.ScalarNode) -> int:
    return nanoseconds(parse_duration(node.value))


_count = _whole(COUNT_AT_MOST)

_STREAM_KEYS: Mapping[str, Read] = {
    "description": _text,
    "retention": _one_of("limits", "workqueue", "interest"),
    "discard": _one_of("old", "new"),
    "storage": _one_of("file", "memory"),
    "compression": _one_of("none", "s2"),
    "num_replicas": _whole(5),
    "max_msgs": _count,
    "max_msgs_per_subject": _count,
    "max_bytes": _size,
    "max_msg_size": _size,
    "max_age": _duration,
    "duplicate_window": _duration,
    "allow_atomic": _flag,
    "allow_direct": _flag,
    "allow_msg_schedules": _flag,
    "allow_msg_ttl": _flag,
    "deny_delete": _flag,
    "deny_purge": _flag,
}
_CONSUMER_KEYS: Mapping[str, Read] = {
    "priority_timeout": lambda node: parse_duration(node.value),
    "max_waiting": _whole(512),
    "ack_wait": lambda node: parse_duration(node.value),
    "max_ack_pending": _count,
}
_DERIVED = ("name", "subjects", "subject_transform", "republish", "sources", "mirror")

_MUST_BE: Mapping[str, Mapping[str, tuple[Any, str]]] = {
    COMMANDS: {
        "retention": ("workqueue", "a command has one owner and is gone when it has been answered"),
        "discard": ("new", "a flood is refused at the door and never pushes out what was accepted"),
    },
    EVENTS: {
        "retention": ("limits", "events are kept for every reader"),
        "deny_delete": (True, "nothing is taken out of the log"),
        "deny_purge": (True, "nothing is taken out of the log"),
        "allow_atomic": (True, "a batch of events is stored as a whole"),
        "allow_direct": (True, "sagas are read by subject"),
    },
    TIMERS: {
        "retention": ("limits", "schedules need it"),
        "discard": ("old", "the server keeps no schedules where new messages are discarded (error 10052)"),
        "allow_msg_schedules": (True, "deadlines are schedules"),
        "allow_direct": (True, "workers verify their position"),
    },
    DEAD_LETTERS: {"retention": ("limits", "dead letters are kept for whoever looks")},
}
_MUST_SAY: Mapping[str, Mapping[str, str]] = {
    COMMANDS: {"max_msgs": "how many commands may wait before clients are refused"},
}
_MUST_NOT_SAY: Mapping[str, Mapping[str, str]] = {
    TIMERS: dict.fromkeys(
        ("max_age", "max_msgs", "max_bytes", "max_msgs_per_subject"), "it would drop deadlines that are still armed"
    )
}


class _File:
    """Collects what is wrong while it takes the document apart."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._problems: list[tuple[int, str]] = []

    def problems(self) -> list[str]:
        return [f"{self._name}:{line}: {text}" for line, text in sorted(self._problems, key=lambda problem: problem[0])]

    def topology(self, root: yaml.Node) -> Topology | None:
        top = self._mapping(root, "", ("partitions", "streams", "consumers"), required=True)
        partitions = self._value(top.get("partitions"), "partitions", _whole(PARTITIONS_AT_MOST))
        named = self._mapping(top.get("streams"), "streams", STREAMS, required=True)
        streams = {name: self._stream(node, name) for name, node in named.items()}
        bounds = self._keys(top.get("consumers"), "consumers", _CONSUMER_KEYS, required=True)
        if self._problems:
            return None
        return Topology(partitions=partitions, streams=streams, consumers=ConsumerBounds(**bounds))

    def _stream(self, node: yaml.Node, name: str) -> Mapping[str, Any]:
        where = f"streams.{name}"
        found = self._keys(node, where, _STREAM_KEYS)
        for key, (wanted, why) in _MUST_BE[name].items():
            if key not in found or found[key] not in (wanted, None):
                self._add(node, f"{where}.{key} must be {str(wanted).lower()}: {why}")
        for key, why in _MUST_SAY.get(name, {}).items():
            if key not in found:
                self._add(node, f"{where}.{key} is missing: {why}")
        for key, why in _MUST_NOT_SAY.get(name, {}).items():
            if key in found:
                self._add(node, f"{where}.{key} must not be set: {why}")
        if (found.get("duplicate_window") or 0) > (found.get("max_age") or DURATION_NS_AT_MOST):
            self._add(node, f"{where}.duplicate_window must not be longer than max_age")
        return found

    def _keys(
        self, node: yaml.Node | None, where: str, known: Mapping[str, Read], *, required: bool = False
    ) -> dict[str, Any]:
        nodes = self._mapping(node, where, (*known, "metadata"), required=required)
        metadata = self._mapping(nodes.pop("metadata", None), f"{where}.metadata", None)
        found = {key: self._value(value, f"{where}.{key}", known[key]) for key, value in nodes.items()}
        found["metadata"] = {
            key: self._value(value, f"{where}.metadata.{key}", _text) for key, value in metadata.items()
        }
        return found

    def _mapping(
        self, node: yaml.Node | None, where: str, known: tuple[str, ...] | None, *, required: bool = False
    ) -> dict[str, yaml.Node]:
        """The values by key; `known` None takes any key, `required` wants all of them (but metadata)."""
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._add(node, f"{where or 'the file'} is not a mapping of keys to values")
            return {}
        found: dict[str, yaml.Node] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value)
            path = f"{where}.{name}" if where else name
            if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAG}str":
                self._add(
                    key, f"{path if isinstance(key, yaml.ScalarNode) else where}: a key must be text; put it in quotes"
                )
            elif name in found:
                self._add(key, f"{path} stands here for the second time, first in line {lines[name]}")
            elif known is not None and name in _DERIVED and name not in known:
                self._add(key, f"{path} follows from the code of the contexts; leave it out")
            elif known is not None and name not in known:
                self._add(key, f"{path} is not known here{did_you_mean(name, known)}")
            else:
                found[name], lines[name] = value, key.start_mark.line + 1
        for name in known or () if required else ():
            if name not in found and name != "metadata":
                self._add(node, f"{f'{where}.{name}' if where else name} is missing")
        return found

    def _value(self, node: yaml.Node | None, where: str, read: Read) -> Any:
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            self._add(node, f"{where} is not a single value")
            return None
        try:
            return read(node)
        except ValueError as error:
            self._add(node, f"{where}: {error}{_trap(node)}")
            return None

    def _add(self, node: yaml.Node, text: str) -> None:
        self._problems.append((node.start_mark.line + 1, text))


def _trap(node: yaml.ScalarNode) -> str:
    if node.style is None and node.tag == f"{_TAG}int" and ":" in node.value:
        return " (YAML reads it as a number in base 60)"
    return ""
