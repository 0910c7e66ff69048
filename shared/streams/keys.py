"""The keys of streams.yaml: which values each accepts, and which values Chorus cannot work without."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

import yaml

from shared.config.spelling import did_you_mean
from shared.config.units import nanoseconds, parse_duration, parse_size
from shared.wire.streams import COMMANDS, DEAD_LETTERS, EVENTS, TIMERS

PARTITIONS_AT_MOST = 256
COUNT_AT_MOST = 10**12

TAG = "tag:yaml.org,2002:"
_YAML_READS = {"bool": "yes or no", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
_WHOLE = re.compile(r"[1-9][0-9]{0,12}")

Read: TypeAlias = Callable[[yaml.ScalarNode], Any]
"""Converts a YAML value; raises ValueError when the value does not fit."""


def read_text(node: yaml.ScalarNode) -> str:
    """A value that YAML reads as text; raises ValueError for numbers, dates, yes and no."""
    meant = _YAML_READS.get(node.tag.removeprefix(TAG))
    if meant is not None:
        raise ValueError(f"YAML reads {node.value!r} as {meant}; put it in quotes")
    if _HALF_A_CHARACTER.search(node.value):
        raise ValueError(f"{node.value!r} has half a character in it")
    return str(node.value)


def _one_of(*choices: str) -> Read:
    def read(node: yaml.ScalarNode) -> str:
        if node.value not in choices:
            raise ValueError(f"{node.value!r} is not one of {', '.join(choices)}{did_you_mean(node.value, choices)}")
        return str(node.value)

    return read


def _flag(node: yaml.ScalarNode) -> bool:
    if node.tag != f"{TAG}bool" or node.value not in ("true", "false"):
        raise ValueError(f"{node.value!r} is not true or false")
    return bool(node.value == "true")


def _whole(at_most: int) -> Read:
    def read(node: yaml.ScalarNode) -> int:
        if node.tag != f"{TAG}int" or _WHOLE.fullmatch(node.value) is None or int(node.value) > at_most:
            raise ValueError(f"{node.value!r} is not a whole number from 1 to {at_most}")
        return int(node.value)

    return read


def _size(node: yaml.ScalarNode) -> int:
    return parse_size(node.value)


def _duration(node: yaml.ScalarNode) -> int:
    return nanoseconds(parse_duration(node.value))


def _wait(node: yaml.ScalarNode) -> timedelta:
    wait = parse_duration(node.value)
    if not wait:
        raise ValueError("it must be longer than 0s, which the server replaces by its own default")
    return wait


read_partitions = _whole(PARTITIONS_AT_MOST)
_count = _whole(COUNT_AT_MOST)

STREAM_KEYS: Mapping[str, Read] = {
    "description": read_text,
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
CONSUMER_KEYS: Mapping[str, Read] = {
    "priority_timeout": _wait,
    "max_waiting": _whole(512),
    "ack_wait": _wait,
    "max_ack_pending": _count,
}
BUCKET_KEYS: Mapping[str, Read] = {
    key: STREAM_KEYS[key]
    for key in ("description", "storage", "compression", "num_replicas", "max_msgs_per_subject", "max_bytes", "max_age")
}
METADATA = ("metadata",)
CONSUMER_METADATA = (*METADATA, "timers_metadata")
OPTIONAL = (*CONSUMER_METADATA, "buckets")
DERIVED = ("name", "subjects", "subject_transform", "republish", "sources", "mirror")

MUST_BE: Mapping[str, Mapping[str, tuple[Any, str]]] = {
    COMMANDS: {
        "retention": ("workqueue", "a command has one owner and is removed once it is decided"),
        "discard": ("new", "a flood is refused and never pushes out an accepted command"),
    },
    EVENTS: {
        "retention": ("limits", "every reader may need every event"),
        "deny_delete": (True, "no event is ever deleted"),
        "deny_purge": (True, "no event is ever deleted"),
        "allow_atomic": (True, "a batch of events is stored as a whole"),
        "allow_direct": (True, "sagas are read by subject"),
    },
    TIMERS: {
        "retention": ("limits", "schedules need it"),
        "discard": ("old", "the server refuses schedules in a stream that discards new messages (error 10052)"),
        "allow_msg_schedules": (True, "deadlines are schedules"),
        "allow_direct": (True, "workers verify their position"),
    },
    DEAD_LETTERS: {"retention": ("limits", "dead letters are kept for operators")},
}
MUST_SAY: Mapping[str, Mapping[str, str]] = {
    COMMANDS: {"max_msgs": "how many commands may wait before clients are refused"},
}
MUST_NOT_SAY: Mapping[str, Mapping[str, str]] = {
    TIMERS: dict.fromkeys(
        ("max_age", "max_msgs", "max_bytes", "max_msgs_per_subject"), "it would drop deadlines that are still armed"
    )
}
