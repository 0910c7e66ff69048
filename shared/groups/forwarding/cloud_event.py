"""An event as a CloudEvent 1.0 in HTTP binary mode: its attributes are headers, and its body is the bare fact. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from shared.groups.read.intake import Heard
from shared.ports.forwards import ForwardRow
from shared.readside.group import Forwards
from shared.wire.messages import CORRELATION_ID, SCHEMA_VERSION, rfc3339
from shared.wire.signature import HEADER, sign
from shared.wire.trace_context import TRACEPARENT

_KEPT = (CORRELATION_ID, SCHEMA_VERSION, TRACEPARENT)
_EXTENSIONS = {CORRELATION_ID: "ce-correlationid", SCHEMA_VERSION: "ce-schemaversion", TRACEPARENT: TRACEPARENT}


def rows_of(heard: Iterable[Heard], forwards: Forwards) -> list[ForwardRow]:
    """The events to forward, as they wait in the database."""
    return [
        ForwardRow(
            n=0,
            key=one.told.key,
            event_id=one.identity,
            sequence=one.told.sequence,
            context=one.kind[0],
            type=one.kind[1],
            at=rfc3339(one.told.at),
            headers={name: one.headers[name] for name in _KEPT if name in one.headers},
            body=one.body,
        )
        for one in heard
        if forwards.since is None or one.told.at >= forwards.since
    ]


def headers_of(row: ForwardRow, secret: str, at: datetime) -> Mapping[str, str]:
    """The headers of a request that is sent at this time; each attempt at an event has the same `ce-id`."""
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": row.event_id,
        "ce-source": f"/{row.context}",
        "ce-type": f"{row.context}.{row.type}",
        "ce-subject": row.key,
        "ce-time": row.at,
        "ce-sequence": str(row.sequence),
        **{_EXTENSIONS[name]: value for name, value in row.headers.items()},
    }
    return {
        **{name: _encoded(value) for name, value in attributes.items()},
        "content-type": "application/json",
        HEADER.lower(): sign(secret, row.body, int(at.timestamp())),
    }


def _encoded(value: str) -> str:
    """As the HTTP binding wants it: all but printable ASCII is percent-encoded, and so are quotes and percents."""
    return "".join(
        one if "!" <= one <= "~" and one not in '"%' else "".join(f"%{byte:02X}" for byte in one.encode())
        for one in value
    )
