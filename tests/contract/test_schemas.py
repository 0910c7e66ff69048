"""The committed schemas follow from the code, are valid, and accept exactly what is on the wire.

asyncapi-3.0.0.json is the official schema of AsyncAPI documents, of the npm package @asyncapi/specs 6.11.1 under the
Apache License 2.0, without blanks.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shared import catalog
from shared.config.settings import Settings
from shared.schemas.files import ASYNCAPI, DIRECTORY, committed, files_of
from shared.schemas.json_schema import schema_of
from shared.schemas.messages import OF_EVERY_CONTEXT, PublishedMessage, published_messages
from shared.wire.bodies import BodyDecoder, MalformedBodyError, stamped_fields
from shared.wire.messages import NEVER, SCHEMA_VERSION
from tests.contract.examples import examples
from tests.contract.golden import GOLDEN, headers_of

ROOT = Path(__file__).parents[2]
COMMAND = "uv run chorus schema export"
MEMBERS = catalog.members(Settings())
MESSAGES = published_messages(MEMBERS.values())
OFFICIAL = jsonschema.Draft7Validator(json.loads((Path(__file__).parent / "asyncapi-3.0.0.json").read_bytes()))

each_message = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.path)


def validator_of(message: PublishedMessage) -> Any:
    return jsonschema.Draft202012Validator(schema_of(message.type))


def as_sent(message: PublishedMessage, example: dict[str, Any]) -> dict[str, Any]:
    """The example as a client sends it: without the time, which the stream sets, and the actor, whom a header names."""
    stamped = stamped_fields(message.type)
    return {name: value for name, value in example.items() if name not in (stamped.get("at"), stamped.get("actor"))}


def references(document: Any) -> Iterator[str]:
    match document:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for value in document.values():
                yield from references(value)
        case list():
            for value in document:
                yield from references(value)


def document() -> Any:
    return json.loads((ROOT / DIRECTORY / ASYNCAPI).read_bytes())


def test_the_committed_schemas_are_those_of_the_code() -> None:
    files = files_of(MEMBERS.values(), title="contexts")
    there = committed(ROOT / DIRECTORY)
    assert [path for path in files.keys() | there.keys() if files.get(path) != there.get(path)] == [], COMMAND


@each_message
def test_a_schema_is_valid_and_accepts_every_example(message: PublishedMessage) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(message.type))
    for example in examples(message.type):
        validator_of(message).validate(as_sent(message, example))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_schema_accepts_every_form_that_was_ever_published(path: Path) -> None:
    context, name, version = path.parent.name, path.name.partition(".")[0], int(headers_of(path)[SCHEMA_VERSION])
    events = [one for one in MESSAGES if one.kind == "events" and one.context in (context, OF_EVERY_CONTEXT)]
    forms = [one for one in events if one.name == name and (one.until is None or version <= one.until)]
    validator_of(min(forms, key=lambda form: form.until or 10**9)).validate(json.loads(path.read_bytes()))


@each_message
def test_a_schema_refuses_what_the_context_cannot_read(message: PublishedMessage) -> None:
    """Each field in turn is missing, or null, or of another kind."""
    schema, decoder = validator_of(message), BodyDecoder(message.type, strict=True)
    example = as_sent(message, examples(message.type)[0])
    key_field = stamped_fields(message.type).get("key")
    for field in example:
        without = {name: value for name, value in example.items() if name != field}
        for body in (without, {**without, field: None}, {**without, field: {"unknown": []}}):
            key = example.get(key_field or "", "k-1")
            assert schema.is_valid(body) == can_be_read(decoder, json.dumps(body).encode(), key), (field, body)


def can_be_read(decoder: BodyDecoder[Any], body: bytes, key: str) -> bool:
    try:
        decoder.decode(body, key=key, at=NEVER)
    except MalformedBodyError:
        return False
    return True


def test_the_asyncapi_document_is_valid_by_the_official_schema() -> None:
    assert [error.message for error in OFFICIAL.iter_errors(document())] == []


def test_a_mistake_in_the_document_is_noticed() -> None:
    broken = document()
    broken["operations"]["ordering.sends.OrderPlaced"]["action"] = "publish"
    assert not OFFICIAL.is_valid(broken)


def test_every_reference_of_the_document_leads_somewhere() -> None:
    whole = document()
    for reference in references(whole):
        found = whole
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_the_document_says_where_each_message_is_published_and_who_takes_it() -> None:
    whole = document()
    assert whole["channels"]["ordering.commands.PlaceOrder"]["address"] == "cmd.ordering.PlaceOrder.{key}"
    assert whole["channels"]["ordering.events.OrderPlaced"]["address"] == "evt.ordering.OrderPlaced.{key}"
    assert whole["channels"]["bank.requests.capture"]["address"] == "svc.bank.capture"
    hearing = whole["operations"]["inventory.hears.ordering.OrderPlaced"]
    assert hearing == {"action": "receive", "channel": {"$ref": "#/channels/ordering.events.OrderPlaced"}}
