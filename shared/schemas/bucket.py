"""Holds the schemas in the key-value bucket SCHEMAS, for programs that have the server and not the repository.

    nats kv get SCHEMAS here.events.ThingDone --raw

A bucket is a stream with one subject for each key. `chorus streams apply` creates it and writes what differs.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from shared.derived.topology import Declared, Topology
from shared.ports.broker import Broker, BrokerRefusedError, Outgoing
from shared.wire.streams import EVENTS, SCHEMAS_STREAM, SCHEMAS_SUBJECT

HISTORY: Final = 10
"""How many values of a key the bucket keeps (`nats kv history`)."""

BATCH_AT_MOST: Final = 200

_OPERATION: Final = "KV-Operation"


def bucket(topology: Topology) -> Declared:
    """The stream of the bucket, with as many replicas as EVENTS."""
    config = {
        "name": SCHEMAS_STREAM,
        "description": "JSON Schemas of all messages, and the AsyncAPI document",
        "subjects": [f"{SCHEMAS_SUBJECT}>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": HISTORY,
        "num_replicas": topology.streams[EVENTS].get("num_replicas", 1),
        "allow_rollup_hdrs": True,
        "allow_atomic": True,  # One disk sync for all schemas.
        "allow_direct": True,
        "deny_delete": True,
    }
    return Declared(kind="stream", stream=SCHEMAS_STREAM, name=SCHEMAS_STREAM, config=config)


def key_of(path: str) -> str:
    """The key of a file: `here.events.ThingDone` of `here/events/ThingDone.json`."""
    return path.removesuffix(".json").replace("/", ".")


async def differing(broker: Broker, files: Mapping[str, bytes], *, complete: bool = True) -> dict[str, bytes | None]:
    """The keys whose value differs from the file of this path, with the right value.

    None stands for a key to delete; unless the files are `complete`, no key is deleted. Raises BrokerError.
    """
    wanted = {key_of(path): content for path, content in files.items()}
    there: dict[str, bytes] = {}
    try:
        async for stored in broker.read(SCHEMAS_STREAM, f"{SCHEMAS_SUBJECT}>"):
            key = stored.subject.removeprefix(SCHEMAS_SUBJECT)
            there.pop(key, None)
            if _OPERATION not in stored.headers:
                there[key] = stored.body
    except BrokerRefusedError as error:
        if not error.missing:
            raise
    changed: dict[str, bytes | None] = {key: value for key, value in wanted.items() if there.get(key) != value}
    gone = sorted(there.keys() - wanted.keys()) if complete else []
    return changed | dict.fromkeys(gone)


async def write(broker: Broker, files: Mapping[str, bytes], *, complete: bool = True) -> Sequence[str]:
    """Write the keys that differ, and return them; raises BrokerError."""
    changed = await differing(broker, files, complete=complete)
    messages = [
        Outgoing(f"{SCHEMAS_SUBJECT}{key}", {} if value is not None else {_OPERATION: "DEL"}, value or b"")
        for key, value in changed.items()
    ]
    for first in range(0, len(messages), BATCH_AT_MOST):
        await broker.publish_batch(messages[first : first + BATCH_AT_MOST])
    return [*changed]
