"""A context can read every event that another one writes, in today's form and in every earlier one (F25)."""

import json

import msgspec
import pytest
from msgspec import Struct

from shared.context import Context
from shared.wire.bodies import BodyDecoder, stamped_fields
from shared.wire.engine_events import ENGINE_EVENTS
from shared.wire.messages import NEVER
from tests.contract.declared import contexts
from tests.contract.examples import examples
from tests.contract.golden import keeps, versions

CONTEXTS = {context.name: context for context in contexts()}
READ = [
    (context, policy.source, policy.event)
    for context in CONTEXTS.values()
    for policy in context.policies
    if policy.event not in context.publishes
]
NAMES = [f"{reader.name}-reads-{source}.{event.__name__}" for reader, source, event in READ]


def writer_of(source: str, event: type[Struct]) -> type[Struct]:
    """The event of the same name in the context that publishes it."""
    said: tuple[type[Struct], ...] = (*CONTEXTS[source].publishes, *ENGINE_EVENTS)
    (found,) = [written for written in said if written.__name__ == event.__name__]
    return found


def read(event: type[Struct], body: bytes) -> Struct:
    """The body as the engine hands it to the reader's policy."""
    decoder = BodyDecoder(event, strict=False)
    key = json.loads(body).get(decoder.key_field, "") if decoder.key_field else ""
    return decoder.decode(body, key=key, at=NEVER)


@pytest.mark.parametrize(("reader", "source", "event"), READ, ids=NAMES)
def test_a_reader_needs_no_field_that_is_not_written(reader: Context, source: str, event: type[Struct]) -> None:
    stamped = stamped_fields(event).values()
    needed = {field.encode_name for field in msgspec.structs.fields(event) if field.name not in stamped}
    assert needed - {field.encode_name for field in msgspec.structs.fields(writer_of(source, event))} == set(), (
        reader.name
    )


@pytest.mark.parametrize(("reader", "source", "event"), READ, ids=NAMES)
def test_a_reader_reads_every_value_that_may_be_written(reader: Context, source: str, event: type[Struct]) -> None:
    writer, stamped = writer_of(source, event), stamped_fields(event).values()
    for written in examples(writer):
        body = msgspec.json.encode(msgspec.convert(written, writer))
        seen = json.loads(msgspec.json.encode(read(event, body)))
        assert keeps(json.loads(body), {name: seen[name] for name in seen if name not in stamped}), reader.name


@pytest.mark.parametrize(("reader", "source", "event"), READ, ids=NAMES)
def test_a_reader_reads_the_golden_example_and_those_before(reader: Context, source: str, event: type[Struct]) -> None:
    golden = versions(source, event.__name__)
    assert golden, f"{reader.name} reads what nobody has ever written"
    for path in golden:
        read(event, path.read_bytes())
