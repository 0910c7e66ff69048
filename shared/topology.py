"""The streams and consumers that Chorus needs: they follow from the contexts' code, within streams.yaml's bounds."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

from msgspec import Struct

from shared.config.units import nanoseconds
from shared.context import Context, Service
from shared.wire.messages import Kind, filter_subject
from shared.wire.streams import COMMANDS, DEAD_LETTERS, EVENTS, TIMERS

STREAMS = (COMMANDS, EVENTS, TIMERS, DEAD_LETTERS)

PRIORITY_GROUP = "w"
PARTITIONS_METADATA = "chorus.partitions"
"""Stands on every stream and consumer of ours; a worker refuses to start when it differs from streams.yaml."""

ApiConfig = Mapping[str, Any]
"""A configuration as JetStream's API spells it: durations in nanoseconds, sizes in bytes."""


class ConsumerBounds(Struct, frozen=True, kw_only=True):
    """The bounds of every consumer; `ack_wait` and `max_ack_pending` of those that acknowledge.

    `timers_metadata` is for the consumers on TIMERS, on top of `metadata`: whoever has their pin has the partition.
    """

    priority_timeout: timedelta
    max_waiting: int
    ack_wait: timedelta
    max_ack_pending: int
    metadata: Mapping[str, str] = {}
    timers_metadata: Mapping[str, str] = {}


class Topology(Struct, frozen=True, kw_only=True):
    """What streams.yaml says: the number of partitions, each stream's declared keys, and the bounds of consumers."""

    partitions: int
    streams: Mapping[str, ApiConfig]
    consumers: ConsumerBounds


class Declared(Struct, frozen=True, kw_only=True):
    """A stream or consumer as it has to be, in its declared keys only."""

    kind: Literal["stream", "consumer"]
    stream: str
    name: str
    config: ApiConfig


def declare(topology: Topology, contexts: Iterable[Context | Service]) -> tuple[Declared, ...]:
    """Every stream that anyone may publish to, then every consumer."""
    members = sorted((member for member in contexts if isinstance(member, Context)), key=lambda context: context.name)
    streams = [_stream(topology, name, subjects) for name, subjects in _subjects(members).items() if subjects]
    consumers = [
        _consumer(topology, context, stream, partition, filters)
        for context in members
        for partition in range(topology.partitions)
        for stream, filters in filters_of(context, partition).items()
    ]
    return (*streams, *consumers)


def filters_of(context: Context, partition: int) -> Mapping[str, tuple[str, ...]]:
    """What a context reads of each stream in a partition; a stream it reads nothing of is not among them."""
    heard = {filter_subject("evt", policy.source, policy.event.__name__, partition) for policy in context.policies}
    read = {
        COMMANDS: _commands(context, partition),
        EVENTS: tuple(sorted(heard)),
        # Whoever has the pin of this one has the partition (engine/intake/partition.py), timers or none.
        TIMERS: (filter_subject("due", context.name, "*", partition),),
    }
    return {stream: filters for stream, filters in read.items() if filters}


def _commands(context: Context, partition: int) -> tuple[str, ...]:
    """What clients ask; the first partition also has what is under the keys `*` and `>`, which no transform takes."""
    if not context.accepts:
        return ()
    partitioned = filter_subject("cmd", context.name, "*", partition)
    return (partitioned, f"cmd.{context.name}.*.*") if partition == 0 else (partitioned,)


def consumer_name(context: str, partition: int) -> str:
    """The durable name of a context's consumer, the same on every stream."""
    return f"{context}-{partition}"


def _subjects(contexts: list[Context]) -> Mapping[str, list[str]]:
    accepted = [f"cmd.{context.name}.{command.__name__}.*" for context in contexts for command in context.accepts]
    return {
        COMMANDS: sorted(accepted),
        EVENTS: [f"evt.{context.name}.*.*" for context in contexts],
        TIMERS: ["due.*.*.*", "timer.*.*.*"],
        DEAD_LETTERS: ["dlq.*.*.*"],
    }


_PARTITIONED: Mapping[str, Kind] = {COMMANDS: "cmd", EVENTS: "evt", TIMERS: "due"}


def _stream(topology: Topology, name: str, subjects: list[str]) -> Declared:
    config = {"name": name, "subjects": subjects, **topology.streams[name]}
    config["metadata"] = {**config.get("metadata", {}), PARTITIONS_METADATA: str(topology.partitions)}
    if name in _PARTITIONED:
        kind = _PARTITIONED[name]
        partition = f"{{{{partition({topology.partitions},3)}}}}"
        config["subject_transform"] = {
            "src": f"{kind}.*.*.*",
            "dest": f"{kind}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.{partition}.{{{{wildcard(3)}}}}",
        }
    return Declared(kind="stream", stream=name, name=name, config=config)


def _consumer(topology: Topology, context: Context, stream: str, partition: int, filters: tuple[str, ...]) -> Declared:
    bounds = topology.consumers
    name = consumer_name(context.name, partition)
    config = {
        "name": name,
        "durable_name": name,
        "filter_subjects": list(filters),
        # A reset may go back to any sequence only when the consumer began with all of them.
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_policy": "none",
        # A message that was delivered too often would be skipped silently.
        "max_deliver": -1,
        "max_waiting": bounds.max_waiting,
        "priority_groups": [PRIORITY_GROUP],
        "priority_policy": "pinned_client",
        "priority_timeout": nanoseconds(bounds.priority_timeout),
        "metadata": {
            **bounds.metadata,
            **(bounds.timers_metadata if stream == TIMERS else {}),
            "context": context.name,
            PARTITIONS_METADATA: str(topology.partitions),
        },
    }
    if stream != EVENTS:
        config["ack_policy"] = "explicit"
        config["ack_wait"] = nanoseconds(bounds.ack_wait)
        config["max_ack_pending"] = bounds.max_ack_pending
    return Declared(kind="consumer", stream=stream, name=name, config=config)
