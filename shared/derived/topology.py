"""Derives the streams and consumers from the contexts' code and the bounds in streams.yaml."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from shared.config.units import nanoseconds
from shared.context import Context, Member
from shared.readside.group import Group, ReadSide, catch_up_of, place_of
from shared.wire.messages import Kind, filter_subject
from shared.wire.streams import COMMANDS, DEAD_LETTERS, EVENTS, TIMERS

STREAMS = (COMMANDS, EVENTS, TIMERS, DEAD_LETTERS)

PRIORITY_GROUP = "w"
BUCKET_HISTORY = 5
"""How many values of a key a bucket keeps, for `nats kv history`, unless streams.yaml says otherwise."""

PARTITIONS_METADATA = "chorus.partitions"
"""The metadata key with the number of partitions; a worker refuses to start when it differs from streams.yaml."""

ApiConfig = Mapping[str, Any]
"""A configuration of the JetStream API: durations in nanoseconds, sizes in bytes."""


class ConsumerBounds(Struct, frozen=True, kw_only=True):
    """The bounds of every consumer; `ack_wait` and `max_ack_pending` apply to consumers that acknowledge.

    Consumers on TIMERS, whose pin decides who owns a partition, have `timers_metadata` besides `metadata`.
    """

    priority_timeout: timedelta
    max_waiting: int
    ack_wait: timedelta
    max_ack_pending: int
    metadata: Mapping[str, str] = {}
    timers_metadata: Mapping[str, str] = {}


class Topology(Struct, frozen=True, kw_only=True):
    """The contents of streams.yaml: the number of partitions, the keys of each stream, and the bounds of consumers.

    `buckets` are the keys of the stream of each KV bucket.
    """

    partitions: int
    streams: Mapping[str, ApiConfig]
    consumers: ConsumerBounds
    buckets: ApiConfig = {}


class Declared(Struct, frozen=True, kw_only=True):
    """The wanted configuration of a stream or consumer, without keys that are left to the server."""

    kind: Literal["stream", "consumer"]
    stream: str
    name: str
    config: ApiConfig


def declare(topology: Topology, contexts: Iterable[Member]) -> tuple[Declared, ...]:
    """All streams with at least one subject, then all consumers."""
    declared = list(contexts)
    members = sorted((member for member in declared if isinstance(member, Context)), key=lambda context: context.name)
    reading = sorted((member for member in declared if isinstance(member, ReadSide)), key=lambda member: member.name)
    streams = [_stream(topology, name, subjects) for name, subjects in _subjects(members, reading).items() if subjects]
    consumers = [
        _consumer(topology, context.name, stream, consumer_name(context.name, partition), filters)
        for context in members
        for partition in range(topology.partitions)
        for stream, filters in filters_of(context, partition).items()
    ]
    for name, group in ((side.name, group) for side in reading for group in side.groups):
        streams += [_bucket(topology, name, table.name) for table in group.buckets]
        consumers += _group_consumers(topology, name, group)
    return (*streams, *consumers)


def streams_of(context: Context) -> tuple[str, ...]:
    """The streams that a context reads."""
    return tuple(filters_of(context, 0))


def filters_of(context: Context, partition: int) -> Mapping[str, tuple[str, ...]]:
    """The filters of a context's consumers in one partition, by stream; without the streams that it does not read."""
    events = {filter_subject("evt", policy.source, policy.event.__name__, partition) for policy in context.policies}
    filters_by_stream = {
        COMMANDS: _commands(context, partition),
        EVENTS: tuple(sorted(events)),
        # Every context has this one: its pin decides who owns the partition (engine/intake/partition.py).
        TIMERS: (filter_subject("due", context.name, "*", partition),),
    }
    return {stream: filters for stream, filters in filters_by_stream.items() if filters}


def _commands(context: Context, partition: int) -> tuple[str, ...]:
    """The filters for commands. Partition 0 also gets the keys `*` and `>`, which the transform leaves unchanged."""
    if not context.accepts:
        return ()
    partitioned = filter_subject("cmd", context.name, "*", partition)
    return (partitioned, f"cmd.{context.name}.*.*") if partition == 0 else (partitioned,)


def consumer_name(context: str, partition: int) -> str:
    """The durable name of a context's consumer, the same on every stream."""
    return f"{context}-{partition}"


def _subjects(contexts: list[Context], reading: list[ReadSide]) -> Mapping[str, list[str]]:
    accepted = [f"cmd.{context.name}.{command.__name__}.*" for context in contexts for command in context.accepts]
    publishing = [*(one.name for one in contexts), *(side.name for side in reading if side.publishes)]
    return {
        COMMANDS: sorted(accepted),
        EVENTS: [f"evt.{name}.*.*" for name in publishing],
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


def _bucket(topology: Topology, context: str, name: str) -> Declared:
    """The stream of a KV bucket, as the clients of KV expect it."""
    stream = f"KV_{name}"
    config = {
        "name": stream,
        "subjects": [f"$KV.{name}.>"],
        "max_msgs_per_subject": BUCKET_HISTORY,
        "discard": "new",
        "deny_delete": True,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "allow_atomic": True,
        "storage": "file",
        **topology.buckets,
    }
    config["metadata"] = {**config.get("metadata", {}), "context": context}
    return Declared(kind="stream", stream=stream, name=stream, config=config)


def _group_consumers(topology: Topology, context: str, group: Group) -> tuple[Declared, Declared]:
    """The consumers of a group read all partitions in the order of the stream: what it hears, and everything.

    The second one is for a group that is far behind. Nobody reads it otherwise, so no check watches it.
    """
    heard = [*group.hears, *((context, says.type) for says in group.says)]
    filters = tuple(sorted({f"evt.{source}.{event.__name__}.*.*" for source, event in heard}))
    place = place_of(context, group.name)
    unwatched = replace(topology, consumers=replace(topology.consumers, metadata={"owner": "chorus"}))
    return (
        _consumer(topology, context, EVENTS, place, filters),
        _consumer(unwatched, context, EVENTS, catch_up_of(place), ()),
    )


def _consumer(topology: Topology, context: str, stream: str, name: str, filters: tuple[str, ...]) -> Declared:
    bounds = topology.consumers
    config = {
        "name": name,
        "durable_name": name,
        **({"filter_subjects": list(filters)} if filters else {}),
        # A reset can go back to any sequence only on a consumer that began with the first.
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_policy": "none",
        # With a maximum, the server would skip a message silently after that many deliveries.
        "max_deliver": -1,
        "max_waiting": bounds.max_waiting,
        "priority_groups": [PRIORITY_GROUP],
        "priority_policy": "pinned_client",
        "priority_timeout": nanoseconds(bounds.priority_timeout),
        "metadata": {
            **bounds.metadata,
            **(bounds.timers_metadata if stream == TIMERS else {}),
            "context": context,
            PARTITIONS_METADATA: str(topology.partitions),
        },
    }
    if stream != EVENTS:
        config["ack_policy"] = "explicit"
        config["ack_wait"] = nanoseconds(bounds.ack_wait)
        config["max_ack_pending"] = bounds.max_ack_pending
    return Declared(kind="consumer", stream=stream, name=name, config=config)
