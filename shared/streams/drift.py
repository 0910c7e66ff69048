"""How the broker differs from what is declared, and what mending it would destroy. Pure: it only compares."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from shared.config.units import format_duration, format_size
from shared.topology import PARTITIONS_METADATA, ApiConfig, Declared

Action = Literal["create", "update", "replace", "remove"]

_ANOTHER_STREAM = ("retention", "storage")
_NEVER_TAKEN_BACK = ("deny_delete", "deny_purge", "allow_msg_schedules", "allow_msg_ttl")
_ANOTHER_CONSUMER = ("ack_policy", "deliver_policy", "replay_policy", "max_waiting")
_DURATIONS = ("max_age", "duplicate_window", "ack_wait", "priority_timeout")
_SIZES = ("max_bytes", "max_msg_size")


class Difference(Struct, frozen=True, kw_only=True):
    """One field, as the API spells it, that is not as declared."""

    field: str
    declared: Any
    found: Any


class Change(Struct, frozen=True, kw_only=True):
    """What has to be done to one stream or consumer. `destroys` says what would be lost by it; None when nothing is."""

    action: Action
    kind: Literal["stream", "consumer"]
    stream: str
    name: str
    differences: tuple[Difference, ...] = ()
    destroys: str | None = None
    config: ApiConfig = {}


class Stored(Struct, frozen=True, kw_only=True):
    """What is in a stream: `age` is the oldest message's; `waiting` counts those under subjects declared no more."""

    messages: int
    size: int
    age: timedelta
    waiting: Mapping[str, int]


def creation(declared: Declared) -> Change:
    """The change that makes what is not there."""
    return Change(
        action="create", kind=declared.kind, stream=declared.stream, name=declared.name, config=declared.config
    )


def stream_change(declared: Declared, found: ApiConfig, stored: Stored) -> Change | None:
    """What makes a stream as declared, or None."""
    differences = tuple(_differences(declared.config, found))
    if not differences:
        return None
    another = any(
        difference.field in _ANOTHER_STREAM or (difference.field in _NEVER_TAKEN_BACK and not difference.declared)
        for difference in differences
    )
    lost = [text for difference in differences for text in _lost(difference, stored)]
    if another and stored.messages:
        lost.insert(0, f"all {stored.messages} stored messages: the server makes this change only to a new stream")
    return Change(
        action="replace" if another else "update",
        kind="stream",
        stream=declared.stream,
        name=declared.name,
        differences=differences,
        destroys="; ".join(lost) or None,
        config=declared.config if another else _overlaid(declared.config, found),
    )


def consumer_change(declared: Declared, found: ApiConfig) -> Change | None:
    """What makes a consumer as declared, or None. Replacing one loses nothing: positions are in the databases."""
    differences = tuple(_differences(declared.config, found))
    if not differences:
        return None
    another = any(difference.field in _ANOTHER_CONSUMER for difference in differences)
    return Change(
        action="replace" if another else "update",
        kind="consumer",
        stream=declared.stream,
        name=declared.name,
        differences=differences,
        config=declared.config if another else _overlaid(declared.config, found),
    )


def orphan(stream: str, name: str) -> Change:
    """A consumer that an earlier apply made and that no context needs any more."""
    return Change(
        action="remove", kind="consumer", stream=stream, name=name, destroys="a consumer no context reads from"
    )


def is_ours(config: ApiConfig) -> bool:
    """Whether an apply made it; what others added beside our consumers is theirs."""
    return PARTITIONS_METADATA in config.get("metadata", {})


def undeclared_subjects(declared: Declared, found: ApiConfig) -> tuple[str, ...]:
    """Subjects that the stream takes now and would take no more."""
    return tuple(sorted(set(found.get("subjects", [])) - set(declared.config["subjects"])))


def with_subjects_of(absent: Collection[str], declared: Declared, found: ApiConfig) -> Declared:
    """A declared stream that also keeps the subjects it has now of these contexts."""
    kept = [subject for subject in found.get("subjects", []) if subject.split(".")[1] in absent]
    if not kept:
        return declared
    subjects = sorted({*declared.config["subjects"], *kept})
    return replace(declared, config={**declared.config, "subjects": subjects})


def described(change: Change) -> tuple[str, ...]:
    """The change as lines for a terminal."""
    what = f"stream {change.name}" if change.kind == "stream" else f"consumer {change.stream}/{change.name}"
    lost = [f"    destroys {change.destroys}"] if change.destroys else []
    return (
        f"{change.action} {what}",
        *(f"    {line}" for difference in change.differences for line in _shown(difference)),
        *lost,
    )


def _differences(declared: ApiConfig, found: ApiConfig) -> Iterator[Difference]:
    for field, wanted in declared.items():
        # The server leaves out what is false, zero or empty.
        there = found.get(field, type(wanted)())
        if field == "metadata":
            for key, text in wanted.items():
                if there.get(key) != text:
                    yield Difference(field=f"metadata.{key}", declared=text, found=there.get(key))
        elif isinstance(wanted, list):
            if sorted(there) != sorted(wanted):
                yield Difference(field=field, declared=wanted, found=there)
        elif there != wanted:
            yield Difference(field=field, declared=wanted, found=there)


def _overlaid(declared: ApiConfig, found: ApiConfig) -> ApiConfig:
    return {**found, **declared, "metadata": {**found.get("metadata", {}), **declared.get("metadata", {})}}


def _lost(difference: Difference, stored: Stored) -> Iterator[str]:
    wanted = difference.declared
    match difference.field:
        case "max_msgs" if 0 < wanted < stored.messages:
            yield f"the oldest {stored.messages - wanted} of {stored.messages} stored messages"
        case "max_bytes" if 0 < wanted < stored.size:
            yield f"the oldest messages: {stored.size} bytes are stored"
        case "max_age" if wanted > 0 and timedelta(microseconds=wanted // 1000) < stored.age:
            yield f"messages older than {format_duration(timedelta(microseconds=wanted // 1000))}"
        case "max_msgs_per_subject" if wanted > 0 and stored.messages:
            yield f"all but the last {wanted} messages of each subject"
        case "subject_transform" if stored.messages:
            yield "the order per key: what is stored keeps its partition, what comes goes to another"
        case "subjects":
            for subject, count in stored.waiting.items():
                if count:
                    yield f"the way of {count} stored messages: nobody is asked for {subject} any more"


def _shown(difference: Difference) -> Iterator[str]:
    if isinstance(difference.declared, list):
        for gone in sorted(set(difference.found) - set(difference.declared)):
            yield f"{difference.field}: - {gone}"
        for new in sorted(set(difference.declared) - set(difference.found)):
            yield f"{difference.field}: + {new}"
        return
    found, declared = (_human(difference.field, value) for value in (difference.found, difference.declared))
    yield f"{difference.field}: {found} -> {declared}"


def _human(field: str, value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case 0 | -1 if field.startswith("max_"):
            return "unlimited"
        case int() if field in _DURATIONS:
            return format_duration(timedelta(microseconds=value // 1000))
        case int() if field in _SIZES:
            return format_size(value)
        case Mapping():
            return " to ".join(str(part) for part in value.values()) or "none"
        case _:
            return str(value)
