"""Describes a door as OpenAPI 3.1, from the types of its commands."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from shared.http.door import Door
from shared.wire.bodies import stamped_fields
from shared.wire.signature import HEADER

IDEMPOTENCY_KEY_LENGTH_AT_MOST: Final = 200
"""The message id has 33 characters more."""

ANSWERS: Final = {
    "202": "Stored: the stream has acknowledged the command. What becomes of it is decided later.",
    "200": "The same request was stored before under this Idempotency-Key; nothing was stored again.",
    "400": "The request is malformed; `errors` names the place.",
    "401": "The signature is missing, wrong or too old.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "429": "Too many requests; Retry-After says when to come again.",
    "431": "The headers are too large.",
    "503": "The stream takes no commands now; send it again later under the same Idempotency-Key.",
    "504": "The outcome is unknown; send it again under the same Idempotency-Key.",
}


def openapi(door: Door, version: str) -> dict[str, Any]:
    """The document of a door."""
    types = [*(one.command for one in door.commands), *(one.body for one in door.webhooks)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    of_type = dict(zip(types, schemas, strict=True))
    for kind in types:
        _without_stamped(components[kind.__name__], kind)
    paths: dict[str, Any] = {}
    for command in door.commands:
        key = _header(
            "Idempotency-Key", "The same request under the same key is stored once.", IDEMPOTENCY_KEY_LENGTH_AT_MOST
        )
        left_out = ("401",)
        paths[command.path] = {"post": _operation(command.summary, of_type[command.command], [key], left_out)}
    for webhook in door.webhooks:
        signature = _header(HEADER, 't=<seconds>,v1=<hex HMAC-SHA-256 of "<t>.<body>">', 255)
        paths[webhook.path] = {"post": _operation(webhook.summary, of_type[webhook.body], [signature], ())}
    return {
        "openapi": "3.1.0",
        "info": {"title": door.title, "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(
    summary: str, schema: dict[str, Any], parameters: list[dict[str, Any]], left_out: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            status: {"description": description} for status, description in ANSWERS.items() if status not in left_out
        },
    }


def _header(name: str, description: str, length_at_most: int) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": length_at_most}
    return {"name": name, "in": "header", "required": True, "description": description, "schema": schema}


def _without_stamped(schema: dict[str, Any], kind: type[Struct]) -> None:
    """Remove the fields that the engine sets; the key stays, because a client may name it."""
    for how, name in stamped_fields(kind).items():
        if how != "key":
            schema["properties"].pop(name, None)
