"""A context can read every event that another one writes, in today's form and in every earlier one (F25)."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import pytest
from msgspec import Struct

from shared.context import Context
from shared.readside.group import ReadSide
from shared.wire.bodies import stamped_fields
from shared.wire.engine_events import ENGINE_EVENTS
from shared.wire.messages import NEVER, SCHEMA_VERSION
from tests.contract.declared import contexts, read_sides
from tests.contract.examples import examples
from tests.contract.golden import headers_of, keeps, said_again, versions

Reader: TypeAlias = Context | ReadSide

MEMBERS: dict[str, Reader] = {**{one.name: one for one in contexts()}, **{one.name: one for one in read_sides()}}
READ = [
    (context, policy.source, policy.event)
    for context in contexts()
    for policy in context.policies
    if policy.event not in context.publishes
] + [(side, source, event) for side in read_sides() for group in side.groups for source, event in group.hears]
NAMES = [f"{reader.name}-reads-{source}.{event.__name__}" for reader, source, event in READ]


NEWEST = {SCHEMA_VERSION: str(max(member.schema_version for member in MEMBERS.values()))}


def writer_of(source: str, event: type[Struct]) -> type[Struct]:
    """The event of the same name in the context that publishes it."""
    said: tuple[type[Struct], ...] = (*MEMBERS[source].publishes, *ENGINE_EVENTS)
    (found,) = [written for written in said if written.__name__ == event.__name__]
    return found


def read(reader: Reader, source: str, event: type[Struct], body: bytes, headers: Mapping[str, str]) -> Struct:
    """The body as the engine hands it to the reader's policy."""
    decoder = reader.decoder_of(event, source)
    key_field = decoder.newest.key_field
    key = json.loads(body).get(key_field, "") if key_field else ""
    decoded: Struct = decoder.decode(body, key=key, at=NEVER, headers=headers)
    return decoded


def without(seen: dict[str, Any], *stamped: str) -> dict[str, Any]:
    """The fields that were read, without those that the subject and the stream give."""
    return {name: value for name, value in seen.items() if name not in stamped}


@pytest.mark.parametrize(("reader", "source", "event"), READ, ids=NAMES)
def test_a_reader_needs_no_field_that_is_not_written(reader: Reader, source: str, event: type[Struct]) -> None:
    stamped = stamped_fields(event).values()
    needed = {field.encode_name for field in msgspec.structs.fields(event) if field.name not in stamped}
    assert needed - {field.encode_name for field in msgspec.structs.fields(writer_of(source, event))} == set(), (
        reader.name
    )


@pytest.mark.parametrize(("reader", "source", "event"), READ, ids=NAMES)
def test_a_reader_reads_every_value_that_may_be_written(reader: Reader, source: str, event: type[Struct]) -> None:
    writer, stamped = writer_of(source, event), stamped_fields(event).values()
    for written in examples(writer):
        body = msgspec.json.encode(msgspec.convert(written, writer))
        seen = json.loads(msgspec.json.encode(read(reader, source, event, body, NEWEST)))
        assert keeps(json.loads(body), without(seen, *stamped)), reader.name


@pytest.mark.parametrize(("reader", "source", "event"), READ, ids=NAMES)
def test_a_reader_makes_of_every_form_what_its_writer_makes(reader: Reader, source: str, event: type[Struct]) -> None:
    golden = versions(source, event.__name__)
    assert golden, f"{reader.name} reads what nobody has ever written"
    for path in golden:
        seen = read(reader, source, event, path.read_bytes(), headers_of(path))
        written = said_again(path, MEMBERS[source], writer_of(source, event))
        made = without(json.loads(msgspec.json.encode(seen)), *stamped_fields(event).values())
        assert keeps(written, made), path.name
