"""Compares what the broker has with the declaration, and tells which messages a change would destroy. Pure."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from shared.config.units import format_duration, format_size
from shared.derived.topology import PARTITIONS_METADATA, ApiConfig, Declared

Action = Literal["create", "update", "replace", "remove"]

_NEEDS_NEW_STREAM = ("retention", "storage")
_NEVER_TAKEN_BACK = ("deny_delete", "deny_purge", "allow_msg_schedules", "allow_msg_ttl")
_NEEDS_NEW_CONSUMER = ("ack_policy", "deliver_policy", "replay_policy", "max_waiting")
_DURATIONS = ("max_age", "duplicate_window", "ack_wait", "priority_timeout")
_SIZES = ("max_bytes", "max_msg_size")


class Difference(Struct, frozen=True, kw_only=True):
    """One field, in the API's spelling, that differs from the declaration."""

    field: str
    declared: Any
    found: Any


class Change(Struct, frozen=True, kw_only=True):
    """A change to one stream or consumer. `destroys` says what is lost by it; None when nothing is."""

    action: Action
    kind: Literal["stream", "consumer"]
    stream: str
    name: str
    differences: tuple[Difference, ...] = ()
    destroys: str | None = None
    config: ApiConfig = {}


class StreamContent(Struct, frozen=True, kw_only=True):
    """The content of a stream. `age` is of the oldest message; `waiting` counts messages of undeclared subjects."""

    messages: int
    size: int
    age: timedelta
    waiting: Mapping[str, int]


def creation(declared: Declared) -> Change:
    """The change that creates a missing stream or consumer."""
    return Change(
        action="create", kind=declared.kind, stream=declared.stream, name=declared.name, config=declared.config
    )


def stream_change(declared: Declared, found: ApiConfig, stored: StreamContent) -> Change | None:
    """The change that makes a stream as declared, or None."""
    differences = tuple(_differences(declared.config, found))
    if not differences:
        return None
    needs_new = any(
        difference.field in _NEEDS_NEW_STREAM or (difference.field in _NEVER_TAKEN_BACK and not difference.declared)
        for difference in differences
    )
    lost = [text for difference in differences for text in _lost(difference, stored)]
    if needs_new and stored.messages:
        lost.insert(0, f"all {stored.messages} stored messages: the server makes this change only to a new stream")
    return Change(
        action="replace" if needs_new else "update",
        kind="stream",
        stream=declared.stream,
        name=declared.name,
        differences=differences,
        destroys="; ".join(lost) or None,
        config=declared.config if needs_new else _overlaid(declared.config, found),
    )


def consumer_change(declared: Declared, found: ApiConfig) -> Change | None:
    """The change that makes a consumer as declared, or None. Databases hold the positions, so none is lost."""
    differences = tuple(_differences(declared.config, found))
    if not differences:
        return None
    needs_new = any(difference.field in _NEEDS_NEW_CONSUMER for difference in differences)
    return Change(
        action="replace" if needs_new else "update",
        kind="consumer",
        stream=declared.stream,
        name=declared.name,
        differences=differences,
        config=declared.config if needs_new else _overlaid(declared.config, found),
    )


def orphan(stream: str, name: str) -> Change:
    """The removal of a consumer that an earlier apply created and that no context reads from."""
    return Change(
        action="remove", kind="consumer", stream=stream, name=name, destroys="a consumer no context reads from"
    )


def is_ours(config: ApiConfig) -> bool:
    """Whether an apply created the consumer. Consumers of other owners stay as they are."""
    return PARTITIONS_METADATA in config.get("metadata", {})


def undeclared_subjects(declared: Declared, found: ApiConfig) -> tuple[str, ...]:
    """The subjects that the stream accepts now and that are not declared."""
    return tuple(sorted(set(found.get("subjects", [])) - set(declared.config["subjects"])))


def with_subjects_of(absent: Collection[str], declared: Declared, found: ApiConfig) -> Declared:
    """A declared stream that also keeps the subjects it has now of these contexts."""
    kept = [subject for subject in found.get("subjects", []) if subject.split(".")[1] in absent]
    if not kept:
        return declared
    subjects = sorted({*declared.config["subjects"], *kept})
    return replace(declared, config={**declared.config, "subjects": subjects})


def describe(change: Change) -> tuple[str, ...]:
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


def _lost(difference: Difference, stored: StreamContent) -> Iterator[str]:
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
            yield "the order per key: stored messages keep their partition, and new ones go to another"
        case "subjects":
            for subject, count in stored.waiting.items():
                if count:
                    yield f"the route of {count} stored messages: no context accepts {subject} any more"


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
