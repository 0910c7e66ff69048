"""Makes one AsyncAPI 3 document of a system: each subject that crosses the border of a context, with its messages.

`receive` is an operation of the context that takes a message, `send` one of the context that publishes it. The version
of the document is a hash of its content, so it changes exactly when something else changes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from shared.context import Context, Member
from shared.derived.return_types import command_of
from shared.mistakes.versions import reads_of
from shared.schemas.json_schema import KEY_PATTERN, Schema, components_of
from shared.schemas.messages import OF_EVERY_CONTEXT, PublishedMessage, contexts_of, endpoint_of, published_messages
from shared.wire.engine_events import ENGINE_EVENTS
from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_ID,
    CORRELATION_ID,
    IDEMPOTENCY_KEY,
    MSG_ID,
    OCCURRED_AT,
    SCHEMA_VERSION,
    content_hash,
)

Document: TypeAlias = dict[str, Any]

SCHEMA_REF: Final = "#/components/schemas/{name}"

_TEXT: Final = {"type": "string"}
_HEADERS: Final[Mapping[str, tuple[Mapping[str, Schema], Sequence[str]]]] = {
    "commands": (
        {
            MSG_ID: {**_TEXT, "description": "The id of the command, unique for ever; the client chooses it."},
            CORRELATION_ID: {**_TEXT, "description": "The saga; the key of the subject unless it is given."},
        },
        (),
    ),
    "events": (
        {
            MSG_ID: {**_TEXT, "description": "The id of the event, unique for ever; dedup goes by it."},
            CORRELATION_ID: {**_TEXT, "description": "The saga: the key of its first command."},
            CAUSATION_ID: {**_TEXT, "description": "The id of the message that the event answers."},
            CAUSATION_DEPTH: {**_TEXT, "description": "The length of the chain of causes."},
            OCCURRED_AT: {**_TEXT, "format": "date-time", "description": "When the context decided it."},
            SCHEMA_VERSION: {**_TEXT, "description": "The schema version of the context's events."},
        },
        (MSG_ID, CORRELATION_ID, CAUSATION_ID, CAUSATION_DEPTH, OCCURRED_AT, SCHEMA_VERSION),
    ),
    "requests": (
        {IDEMPOTENCY_KEY: {**_TEXT, "description": "One key has one answer for ever."}},
        (IDEMPOTENCY_KEY,),
    ),
}
"""(the properties, the names of the required ones) of the headers of each kind of message."""


def document_of(members: Iterable[Member], *, title: str) -> Document:
    """The document of a system that consists of these contexts."""
    contexts = contexts_of(members)
    messages = published_messages(contexts)
    replies = [reply for context in contexts for reply in _replies(context)]
    names, schemas = components_of([message.type for message in (*messages, *replies)], SCHEMA_REF)
    payloads = dict(zip((*messages, *replies), names, strict=True))
    channels = dict(_channels(contexts, messages, replies))
    body = {
        "channels": channels,
        "operations": dict(_operations(contexts)),
        "components": {
            "messages": {_id(one): _message(one, payload) for one, payload in payloads.items()},
            "schemas": {**schemas, **dict(_headers())},
            "parameters": {"key": {"description": f"The key of the saga or of its subject: {KEY_PATTERN}"}},
        },
    }
    info = {
        "title": title,
        "version": content_hash(msgspec.json.encode(body)).hex()[:12],
        "description": "The messages that cross the borders of the contexts, on NATS JetStream. Made from the code.",
    }
    return {"asyncapi": "3.0.0", "info": info, "defaultContentType": "application/json", **body}


def _id(message: PublishedMessage) -> str:
    return f"{_channel_id(message)}{_form(message)}"


def _channel_id(message: PublishedMessage) -> str:
    return f"{message.context}.{message.kind}.{message.name}"


def _form(message: PublishedMessage) -> str:
    """The end of the name of an event's older form."""
    return "" if message.until is None else f".{message.until}"


def _ref(*path: str) -> Schema:
    return {"$ref": "/".join(("#", *path))}


def _replies(context: Member) -> Iterator[PublishedMessage]:
    """The replies whose type the endpoint's function names."""
    for endpoint in context.endpoints:
        reply = command_of(endpoint.answer)
        if reply is not None:
            yield PublishedMessage(context.name, "requests", f"{endpoint.operation}.reply", reply)


def _message(message: PublishedMessage, payload: str) -> Schema:
    summary = (message.type.__doc__ or "").strip().partition("\n")[0]
    correlation = {"location": f"$message.header#/{CORRELATION_ID}"}
    return {
        "name": f"{message.name}{_form(message)}",
        **({"summary": summary} if summary else {}),
        "headers": _ref("components", "schemas", f"headers-of-{message.kind}"),
        "payload": _ref("components", "schemas", payload),
        **({"correlationId": correlation} if message.kind != "requests" else {}),
    }


def _headers() -> Iterator[tuple[str, Schema]]:
    for kind, (properties, required) in _HEADERS.items():
        yield f"headers-of-{kind}", {"type": "object", "properties": properties, "required": list(required)}


def _channels(
    contexts: Sequence[Member], messages: Sequence[PublishedMessage], replies: Sequence[PublishedMessage]
) -> Iterator[tuple[str, Schema]]:
    forms: dict[str, list[PublishedMessage]] = {}
    for message in messages:
        forms.setdefault(_channel_id(message), []).append(message)
    of_engine = [message for message in messages if message.context == OF_EVERY_CONTEXT]
    for context in contexts:
        for message in of_engine:
            forms[_channel_id(message._replace(context=context.name))] = [message]
    for name in sorted(name for name in forms if not name.startswith(f"{OF_EVERY_CONTEXT}.")):
        yield name, _channel(contexts, name, forms[name])
    for reply in replies:
        yield _id(reply), {"address": None, "messages": {reply.name: _ref("components", "messages", _id(reply))}}


def _channel(contexts: Sequence[Member], name: str, forms: Sequence[PublishedMessage]) -> Schema:
    """The subject of a message, with each of its forms."""
    of, kind, message = name.split(".")
    messages = {f"{form.name}{_form(form)}": _ref("components", "messages", _id(form)) for form in forms}
    if kind == "requests":
        context = next(context for context in contexts if context.name == of)
        return {"address": endpoint_of(context, message).subject, "messages": messages}
    address = f"{'evt' if kind == 'events' else 'cmd'}.{of}.{message}.{{key}}"
    return {"address": address, "messages": messages, "parameters": {"key": _ref("components", "parameters", "key")}}


def _operations(contexts: Sequence[Member]) -> Iterator[tuple[str, Schema]]:
    for context in contexts:
        for event in (*context.publishes, *(ENGINE_EVENTS if isinstance(context, Context) else ())):
            channel = f"{context.name}.events.{event.__name__}"
            yield f"{context.name}.sends.{event.__name__}", _operation("send", channel)
        for command in context.accepts:
            channel = f"{context.name}.commands.{command.__name__}"
            yield f"{context.name}.takes.{command.__name__}", _operation("receive", channel)
        for source, event in reads_of(context):
            channel = f"{source}.events.{event.__name__}"
            yield f"{context.name}.hears.{source}.{event.__name__}", _operation("receive", channel)
        replies = {reply.name.removesuffix(".reply") for reply in _replies(context)}
        for endpoint in context.endpoints:
            channel = f"{context.name}.requests.{endpoint.operation}"
            answered = {"channel": _ref("channels", f"{channel}.reply")} if endpoint.operation in replies else {}
            yield (
                f"{context.name}.answers.{endpoint.operation}",
                {**_operation("receive", channel), "reply": answered},
            )


def _operation(action: str, channel: str) -> Schema:
    return {"action": action, "channel": _ref("channels", channel)}
