"""Writes a saga as OpenTelemetry spans in OTLP/JSON, as `POST /v1/traces` takes them.

The span of a message lasts from its cause to itself. Ids follow from the key and from the ids of the messages, so
exporting twice gives the same spans. In OTLP/JSON, trace ids and span ids are hex, and 64-bit numbers are strings.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from shared.export.rows import Row
from shared.inspect.timeline.tree import Message
from shared.ports.clock import since_1970_ns

INTERNAL: Final = 1
CONSUMER: Final = 5


def traces(rows: Sequence[Row], key: str) -> dict[str, Any]:
    """The message `TracesData`, with a resource for each context. A row that lies ahead has no end, and is left out."""
    spans: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.message is not None:
            cause = None if row.cause is None else rows[row.cause].message
            spans.setdefault(row.message.context, []).append(_span(row, row.message, cause, key))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": context})},
                "scopeSpans": [{"scope": {"name": "chorus"}, "spans": found}],
            }
            for context, found in spans.items()
        ]
    }


def _span(row: Row, message: Message, cause: Message | None, key: str) -> dict[str, Any]:
    parent = {} if cause is None else {"parentSpanId": _id(cause.id, 8)}
    began = message.at if cause is None else min(cause.at, message.at)
    return {
        "traceId": _id(key, 16),
        "spanId": _id(message.id, 8),
        **parent,
        "name": row.title,
        "kind": INTERNAL if cause is None or cause.context == message.context else CONSUMER,
        "startTimeUnixNano": str(since_1970_ns(began)),
        "endTimeUnixNano": str(since_1970_ns(message.at)),
        "attributes": _attributes(
            {
                "messaging.system": "nats",
                "messaging.destination.name": message.stream,
                "messaging.message.id": message.id,
                "chorus.key": message.key,
                "chorus.context": message.context,
                **({"chorus.told": " ".join(row.told)} if row.told else {}),
            }
        ),
    }


def _attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in values.items()]


def _id(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
