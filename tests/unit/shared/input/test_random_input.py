"""Random input is accepted, or refused with an error that is documented (R11)."""

import string
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from contexts.bank.endpoints import endpoints
from shared import catalog
from shared.config.connection import ConnectionOptionsError, find_connection
from shared.config.settings import SettingsError, default_streams_file
from shared.context import Context, Request
from shared.engine.decide.outgoing import OutgoingRows
from shared.engine.route.incoming import Decide, Incoming, Poison, Refuse
from shared.ports.broker import Delivery
from shared.ports.clock import moment
from shared.streams.file import StreamsFileError, parse_topology
from shared.wire.bodies import PROBLEM_LENGTH_AT_MOST, BodyDecoder, MalformedBodyError
from shared.wire.messages import (
    NEVER,
    MalformedKeyError,
    MalformedSubjectError,
    check_key,
    check_message_id,
    parse_subject,
    partition_of,
)
from shared.wire.streams import COMMANDS, EVENTS, TIMERS
from tests.contract.examples import examples
from tests.unit.shared.input.hostile import KEYS, VALUES, YAML, mutated
from tests.unit.shared.input.malformed import (
    AT_NS,
    MEMBERS,
    PARTITIONS,
    asked_of,
    commanded,
    form,
    poisoned,
    refused,
    strange,
    taken_by,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
HEADER = st.dictionaries(
    st.sampled_from(["Nats-Msg-Id", "Correlation-Id", "Causation-Id", "Causation-Depth", "Causation-Hash", "Timer-Id"]),
    st.one_of(TEXT, st.sampled_from(["m-1", "o-42", "3", "payments/payment-o-42@1", "x" * 300, "9" * 5_000])),
    max_size=3,
)
Route: TypeAlias = tuple[str, str, str, type[Struct]]
ROUTES: list[Route] = [
    *(
        (c.name, COMMANDS, f"cmd.{c.name}.{command.__name__}", command)
        for c in MEMBERS.values()
        for command in c.accepts
    ),
    *(
        (c.name, EVENTS, f"evt.{policy.source}.{policy.event.__name__}", policy.event)
        for c in MEMBERS.values()
        for policy in c.policies
    ),
    *((c.name, TIMERS, f"due.{c.name}.{timer.name}", timer.armed_by) for c in MEMBERS.values() for timer in c.timers),
]
EXAMPLES = {message_type: examples(message_type) for *_, message_type in ROUTES}
REQUESTS = {endpoint.operation: endpoint.request for endpoint in endpoints(0)}
KEY = st.one_of(st.just("o-42"), st.sampled_from(KEYS), TEXT)
SLOW_IS_FINE = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
FEW = settings(SLOW_IS_FINE, max_examples=8)
"""For each of a hundred routes; the long tests try a thousand."""
MANY = settings(SLOW_IS_FINE, max_examples=1_000)
Problem = TypeVar("Problem", bound=Exception)


def caught(problem: type[Problem] | tuple[type[Problem], ...], work: Callable[..., Any], *given: Any) -> Problem | None:
    """The documented error of this work, if it ends in one."""
    try:
        work(*given)
    except problem as error:
        return error
    return None


class TestAnything:
    """Random bytes and mutated valid messages, at everything that reads what others wrote."""

    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]}<-{route[2]}")
    @FEW
    @given(data=st.data())
    def test_a_message_is_taken_refused_or_poison(self, route: Route, data: st.DataObject) -> None:
        take(route, data)

    @pytest.mark.long
    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]}<-{route[2]}")
    @MANY
    @given(data=st.data())
    def test_a_message_is_taken_refused_or_poison_a_thousand_times(self, route: Route, data: st.DataObject) -> None:
        take(route, data)

    @SLOW_IS_FINE
    @given(subject=st.one_of(st.text(max_size=40), st.lists(TEXT, max_size=6).map(".".join)))
    def test_a_subject_is_parsed_or_malformed(self, subject: str) -> None:
        error = caught((MalformedSubjectError, MalformedKeyError), parse_subject, subject)
        assert error is None or len(str(error)) < 1_000

    @pytest.mark.parametrize("operation", REQUESTS)
    @SLOW_IS_FINE
    @given(data=st.data())
    def test_the_bank_reads_a_request_or_says_where_it_is_wrong(self, operation: str, data: st.DataObject) -> None:
        decoder: BodyDecoder[Any] = BodyDecoder(REQUESTS[operation], strict=True)
        body = data.draw(mutated(examples(REQUESTS[operation])))
        error = caught(MalformedBodyError, lambda: decoder.decode(body, key="", at=NEVER))
        assert error is None or (error.path.startswith("$") and 0 < len(error.problem) <= PROBLEM_LENGTH_AT_MOST)

    @pytest.mark.parametrize(("context", "command"), [(c.name, k) for c in MEMBERS.values() for k in c.accepts])
    @FEW
    @given(data=st.data())
    async def test_an_endpoint_accepts_or_says_what_is_wrong(
        self, context: str, command: type[Struct], data: st.DataObject
    ) -> None:
        request = Request(data.draw(HEADER), data.draw(mutated(EXAMPLES[command])))
        assert (await asked_of(MEMBERS[context], command, request))[0] in (200, 400)

    @SLOW_IS_FINE
    @given(data=st.data())
    def test_streams_yaml_is_read_or_every_mistake_has_its_line(self, data: st.DataObject) -> None:
        text = default_streams_file().read_bytes()
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(text)))
            rest = text[at + data.draw(st.integers(0, 40)) :]
            text = text[:at] + data.draw(st.one_of(st.sampled_from(YAML), st.binary(max_size=9))) + rest
        error = caught(StreamsFileError, parse_topology, text, "streams.yaml")
        for problem in error.problems if error else ():
            name, line, what = problem.split(":", 2)
            assert (name, line.isdecimal(), bool(what.strip())) == ("streams.yaml", True, True)
            problem.encode()

    @pytest.mark.parametrize(
        "text", [b'a: "\\UFFFFFFFF"', b"%YAML 1." + b"9" * 5_000 + b"\n---\na: 1", b'"\\ud800": 1']
    )
    def test_what_yaml_itself_stumbles_over_is_reported_as_well(self, text: bytes) -> None:
        with pytest.raises(StreamsFileError, match=r"^streams\.yaml:1: "):
            parse_topology(text, "streams.yaml")

    @SLOW_IS_FINE
    @given(data=st.data())
    def test_the_environment_is_read_or_every_mistake_is_named(self, data: st.DataObject) -> None:
        known = st.sampled_from([setting.variable for setting in catalog.described_settings({})])
        value = st.one_of(st.text(max_size=20), st.sampled_from(VALUES)).map(lambda text: text.replace("\x00", ""))
        environ = data.draw(st.dictionaries(st.one_of(known, TEXT.map("CHORUS_{}".format)), value, max_size=4))
        error = caught(SettingsError, catalog.read_settings, environ)
        assert error is None or error.problems
        for problem in error.problems if error else ():
            assert any(problem.startswith(f"{variable}: ") for variable in environ)

    @SLOW_IS_FINE
    @given(data=st.data())
    def test_a_connection_is_found_or_what_is_wrong_is_reported(self, data: st.DataObject) -> None:
        names = [
            "NATS_URL",
            "NATS_CREDS",
            "NATS_NKEY",
            "NATS_USER",
            "NATS_PASSWORD",
            "NATS_CERT",
            "NATS_KEY",
            "NATS_CA",
        ]
        value = st.one_of(st.text(max_size=20), st.sampled_from(VALUES)).map(lambda text: text.replace("\x00", ""))
        environ = data.draw(st.dictionaries(st.sampled_from([*names, "NATS_CONTEXT"]), value, max_size=4))
        home = {"XDG_CONFIG_HOME": "/nowhere", "HOME": "/nowhere"}
        error = caught(ConnectionOptionsError, find_connection, {**environ, **home})
        assert error is None or str(error)


def take(route: Route, data: st.DataObject) -> None:
    """Let a context take something like a message of this route: nothing but the documented comes of it."""
    context, stream, subject, message_type = route
    body = data.draw(mutated(EXAMPLES[message_type]))
    key, headers = data.draw(KEY), data.draw(HEADER)
    number = partition_of(key, PARTITIONS) if data.draw(st.booleans()) else 3
    place = f"{subject}.{number}.{key}"
    if stream != COMMANDS and data.draw(st.booleans()):
        headers = {**form(place), **(headers if data.draw(st.booleans()) else {})}
    message = taken_by(context, stream, place, headers, body)
    check_key(message.key)
    check_key(message.correlation_id)
    check_message_id(message.message_id)
    assert 0 <= message.depth < 32
    wrong = (refused(message) is not None) + bool(poisoned(message)) + bool(strange(message))
    assert wrong == (not isinstance(message.handling, Decide))
    assert stream != COMMANDS or not (poisoned(message) or strange(message))
    assert stream == COMMANDS or refused(message) is None
    assert not (wrong and commanded(message))
    answered(MEMBERS[context], message)


def answered(context: Context, message: Incoming) -> None:
    """Assert that the answer to any message can be encoded and is within the server's size limit."""
    make = OutgoingRows(context.name, schema_version=1, partitions=PARTITIONS, now=moment(AT_NS))
    if isinstance(message.handling, Refuse):
        row = make.rejection(message, message.handling.reason, message.handling.details)
    elif isinstance(message.handling, Poison):
        assert isinstance(message.source, Delivery)
        row = make.dead_letter(message, message.source, message.handling.reason)
    else:
        return
    assert all(character in string.printable for character in row.subject)
    assert len(row.body) < 2**20
    msgspec.json.decode(row.body)
    row.body.decode()
