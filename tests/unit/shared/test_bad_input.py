"""The engine accepts, refuses or parks every input; a refusal names the mistake and its remedy (R11)."""

import json
import string
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from contexts.bank.commands import OPERATIONS
from contexts.ordering.commands import PlaceOrder
from shared import catalog
from shared.config.connection import ConnectionOptionsError, find_connection
from shared.config.settings import SettingsError, default_streams_file
from shared.context import Answer, Context, Request
from shared.engine.api import api_of
from shared.engine.decide.incoming import Decide, Incoming, Poison, Refuse
from shared.engine.decide.outgoing import OutgoingRows
from shared.engine.decide.routing import UNKEYED, Routing
from shared.ports.broker import Broker, Delivery, Outgoing, Published
from shared.ports.clock import moment
from shared.streams.file import StreamsFileError, parse_topology
from shared.wire.bodies import BODY_BYTES_AT_MOST, PROBLEM_LENGTH_AT_MOST, BodyDecoder, MalformedBodyError
from shared.wire.messages import (
    NEVER,
    MalformedKeyError,
    MalformedSubjectError,
    check_key,
    check_message_id,
    command_subject,
    parse_subject,
)
from shared.wire.streams import COMMANDS, EVENTS, TIMERS
from tests.contract.declared import contexts
from tests.contract.examples import examples
from tests.unit.shared.hostile import KEYS, VALUES, YAML, mutated

PARTITIONS = 4
AT_NS = 1_795_251_600_000_000_000
MEMBERS = {context.name: context for context in contexts()}
ROUTINGS = {name: Routing(context, partitions=PARTITIONS) for name, context in MEMBERS.items()}
ORDER: dict[str, Any] = {**examples(PlaceOrder)[0], "order_id": "o-42"}
del ORDER["asked_at"]
SUBJECT = "cmd.ordering.PlaceOrder.3.o-42"


def taken(
    body: bytes, *, subject: str = SUBJECT, headers: Mapping[str, str] | None = None, stream: str = COMMANDS
) -> Incoming:
    """Decode one delivery in the context that its subject names, or in ordering."""
    return taken_by("ordering", stream, subject, headers or {}, body)


def taken_by(context: str, stream: str, subject: str, headers: Mapping[str, str], body: bytes) -> Incoming:
    routing = ROUTINGS[context]
    delivery = Delivery(
        sequence=7, consumer_sequence=7, pending=0, at_ns=AT_NS, subject=subject, headers=headers, body=body, reply=""
    )
    return routing.delivered(stream, 3, delivery)


def refused(message: Incoming) -> Refuse | None:
    return message.handling if isinstance(message.handling, Refuse) else None


def poisoned(message: Incoming) -> str:
    """Why the message is poison; empty when it is none."""
    return message.handling.reason if isinstance(message.handling, Poison) else ""


def commanded(message: Incoming) -> Sequence[Any]:
    return message.handling.commands if isinstance(message.handling, Decide) else ()


def refusal(message: Incoming) -> tuple[str, str]:
    """Where the command is wrong, and what is said of it."""
    assert isinstance(message.handling, Refuse), message.handling
    assert message.handling.reason == "malformed"
    (detail,) = message.handling.details
    return detail.path, detail.message


def order(**changed: Any) -> bytes:
    return json.dumps({**ORDER, **changed}).encode()


def order_with(raw: bytes, **place: str) -> bytes:
    """The order with this JSON, be it none, in the place of a field of it or of its line."""
    field, value = next(iter(place.items()))
    return order(**{field: value} if field != "quantity" else {"lines": [{**ORDER["lines"][0], **place}]}).replace(
        json.dumps(value).encode(), raw
    )


BODIES = {
    "one byte too many": (b" " * BODY_BYTES_AT_MOST + b"{", "$", "65537 bytes are more than the 65536"),
    "a nest without end": (b"[" * BODY_BYTES_AT_MOST, "$", "not JSON that can be read"),
    "objects without end": (b'{"lines":' * 7_000, "$", "not JSON that can be read"),
    "a deep nest in a field": (order_with(b"[" * 20_000 + b"]" * 20_000, reason="?"), "$", "not JSON that can be read"),
    "nothing": (b"", "$", "not JSON"),
    "half of it": (order()[:-9], "$", "not JSON"),
    "two of it": (order() * 2, "$", "not JSON"),
    "null": (b"null", "$", "Expected `object`, got `null`"),
    "a list": (b"[]", "$", "Expected `object`, got `array`"),
    "a text": (b'"PlaceOrder"', "$", "Expected `object`, got `str`"),
    "not a number": (order_with(b"NaN", quantity="?"), "$", "NaN is not JSON"),
    "infinity": (order_with(b"-Infinity", quantity="?"), "$", "-Infinity is not JSON"),
    "a number beyond all numbers": (order_with(b"1e400", quantity="?"), "$.lines[0].quantity", "Number out of range"),
    "digits without end": (order_with(b"9" * 5_000, quantity="?"), "$", "4300 digits"),
    "many digits": (order_with(b"9" * 4_000, quantity="?"), "$.lines[0].quantity", "<= 1000000"),
    "a half": (order_with(b"1.5", quantity="?"), "$.lines[0].quantity", "Expected `int`, got `float`"),
    "yes": (order_with(b"true", quantity="?"), "$.lines[0].quantity", "Expected `int`, got `bool`"),
    "a number as text": (order_with(b'"2"', quantity="?"), "$.lines[0].quantity", "Expected `int`, got `str`"),
    "none of it": (order_with(b"0", quantity="?"), "$.lines[0].quantity", "Expected `int` >= 1"),
    "null in a field": (order(email=None), "$.email", "Expected `str`, got `null`"),
    "no lines": (order(lines=[]), "$.lines", "length >= 1"),
    "lines without end": (order(lines=ORDER["lines"] * 101), "$.lines", "length <= 100"),
    "an unknown field": (order(tip=1), "$", "unknown field `tip`"),
    "a field twice": (order()[:-1] + b', "email": "eve@shop.example"}', "$", "the key 'email' stands twice"),
    "a field twice further in": (order_with(b'2, "quantity": 1', quantity="?"), "$", "the key 'quantity' stands twice"),
    "what is not UTF-8": (order_with(b'"\xff"', email="?"), "$", "not JSON that can be read"),
    "half a character": (order_with(b'"\\ud800"', email="?"), "$", "not JSON that can be read"),
    "UTF-16": (order().decode().encode("utf-16"), "$", "not JSON that can be read"),
    "the key of another": (order(order_id="o-43"), "$.order_id", "names 'o-43' but the subject names 'o-42'"),
    "a time of its own": (order(asked_at="2020-01-01T00:00:00Z"), "$.asked_at", "set by the stream; leave it out"),
    "a currency in small letters": (
        order(lines=[{**ORDER["lines"][0], "unit_price": {"amount_minor": 1, "currency": "eur"}}]),
        "$.lines[0].unit_price.currency",
        "^[A-Z]{3}",
    ),
}


AMOUNTS = {
    "too many bytes": (b" " * BODY_BYTES_AT_MOST, "$", "bytes are more than the 65536"),
    "a nest without end": (b"[" * 20_000, "$.total.amount_minor", "Expected `int`, got `array`"),
    "a nest in what nobody reads": (b'1999, "vat": ' + b"[" * 20_000, "$", "not JSON that can be read"),
    "not a number": (b"NaN", "$", "not JSON that can be read"),
    "a number beyond all numbers": (b"1e400", "$.total.amount_minor", "Number out of range"),
    "digits without end": (b"9" * 5_000, "$.total.amount_minor", "Integer value out of range"),
    "more than there is": (b"1000000000001", "$.total.amount_minor", "<= 1000000000000"),
    "a number as text": (b'"1999"', "$.total.amount_minor", "Expected `int`, got `str`"),
    "null": (b"null", "$.total.amount_minor", "Expected `int`, got `null`"),
    "what is not UTF-8": (b'1999, "currency": "\xff"', "$", "not JSON that can be read"),
    "half of it": (b"", "$", "not JSON"),
}
"""In the place of the amount in an event."""


def placed(amount: bytes) -> bytes:
    """An OrderPlaced as payments reads it, with this amount."""
    event = {"order_id": "o-42", "total": {"amount_minor": "?", "currency": "EUR"}, "method_token": "tok_ok"}
    return json.dumps(event).encode().replace(b'"?"', amount)


OF_ANY_KEY = {name: case for name, case in BODIES.items() if case[1] != "$.order_id"}


class TestBodies:
    """A command whose body is wrong is refused; an event is parked."""

    @pytest.mark.parametrize(("body", "path", "problem"), BODIES.values(), ids=BODIES.keys())
    def test_it_is_refused_with_its_place_and_what_is_wrong(self, body: bytes, path: str, problem: str) -> None:
        where, what = refusal(taken(body))
        assert (where, what) == (path, what)
        assert problem in what

    @pytest.mark.parametrize(("raw", "path", "problem"), AMOUNTS.values(), ids=AMOUNTS.keys())
    def test_of_an_event_it_is_poison(self, raw: bytes, path: str, problem: str) -> None:
        message = taken_by("payments", EVENTS, "evt.ordering.OrderPlaced.3.o-42", {}, placed(raw))
        assert poisoned(message)
        assert poisoned(message).startswith(f"{path}: ")
        assert problem in poisoned(message)
        assert (refused(message), message.key, commanded(message)) == (None, "o-42", ())

    def test_an_event_may_have_grown(self) -> None:
        message = taken_by(
            "payments", EVENTS, "evt.ordering.OrderPlaced.3.o-42", {}, placed(b'1999, "vat": {"of": [7]}')
        )
        assert (poisoned(message), len(commanded(message))) == ("", 1)

    def test_none_takes_longer_than_milliseconds(self) -> None:
        def took_s(body: bytes) -> float:
            began = time.process_time()
            taken(body)
            return time.process_time() - began

        slow = {name for name, (body, *_) in BODIES.items() if min(took_s(body) for _ in range(3)) > 0.01}
        assert slow == set()

    def test_a_body_that_is_too_large_is_not_even_parsed(self) -> None:
        assert "65537 bytes" in refusal(taken(b"?" * (BODY_BYTES_AT_MOST + 1)))[1]
        assert commanded(taken(order().ljust(BODY_BYTES_AT_MOST)))

    def test_a_name_that_stands_twice_is_found_without_comparing_all_with_all(self) -> None:
        names = [f'"{number}":1' for number in range(6_000)]
        body = ("{" + ",".join([*names, names[-1]]) + "}").encode()
        calls = 0

        def count(_frame: object, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event == "c_call"

        sys.setprofile(count)
        try:
            message = taken(body)
        finally:
            sys.setprofile(None)
        assert "'5999' stands twice" in refusal(message)[1]
        assert calls < 500

    def test_what_is_said_does_not_grow_with_what_was_sent(self) -> None:
        for body in (order(**{"x" * 60_000: 1}), order(allow_backorder="x" * 60_000), order(order_id="x" * 60_000)):
            assert len(refusal(taken(body))[1]) <= PROBLEM_LENGTH_AT_MOST

    @pytest.mark.parametrize("token", ["4111111111111111", "4111 1111 1111 1111", "3782-822463-10005", "4222222222222"])
    def test_a_card_number_is_no_method_token(self, token: str) -> None:
        path, problem = refusal(taken(order(method_token=token)))
        assert path == "$.method_token"
        assert "this is a card number; send the token" in problem
        assert token not in problem

    @pytest.mark.parametrize("token", ["4111111111111112", "tok_4111111111111111", "0", "41111111111111111111111"])
    def test_other_digits_are(self, token: str) -> None:
        assert commanded(taken(order(method_token=token)))


class TestKeys:
    """A key is 1 to 64 of A-Z a-z 0-9 _ - and nothing else, wherever one is built or read."""

    @pytest.mark.parametrize("key", KEYS)
    def test_a_subject_is_built_of_no_other_key(self, key: str) -> None:
        with pytest.raises(MalformedKeyError, match="is not a key: use 1 to 64 of A-Z a-z 0-9 _ -"):
            command_subject("ordering", "PlaceOrder", key)

    @pytest.mark.parametrize("key", KEYS)
    def test_a_command_under_another_key_is_answered_under_unkeyed(self, key: str) -> None:
        message = taken(order(), subject=f"cmd.ordering.PlaceOrder.3.{key}")
        path, problem = refusal(message)
        assert (path, message.key, message.type) == ("subject", UNKEYED, "PlaceOrder")
        assert "is not a key: use 1 to 64" in problem
        assert message.message_id == "COMMANDS@2026-11-21T09:00:00.000000Z/7"

    @pytest.mark.parametrize("key", ["*", ">"])
    def test_nor_where_the_server_put_no_partition_before_it(self, key: str) -> None:
        assert refusal(taken(order(), subject=f"cmd.ordering.PlaceOrder.{key}")) == (
            "subject",
            f"{key!r} is not a key: use 1 to 64 of A-Z a-z 0-9 _ -",
        )

    @pytest.mark.parametrize(
        "subject", ["", "cmd", "cmd.ordering", "....", "x.ordering.PlaceOrder.3.o-42", "cmd.a.b.x.c"]
    )
    def test_a_subject_that_is_none_is_refused(self, subject: str) -> None:
        assert refusal(taken(order(), subject=subject))[0] == "subject"

    def test_a_partition_of_many_digits_is_no_partition(self) -> None:
        for digits in ("9" * 5_000, "\u0663", "-1", " 3"):
            assert refusal(taken(order(), subject=f"cmd.ordering.PlaceOrder.{digits}.o-42"))[0] == "subject"

    @pytest.mark.parametrize(
        ("stream", "subject"), [(EVENTS, "evt.payments.PaymentFailed.3.*"), (TIMERS, "due.x.Y.3.>")]
    )
    def test_of_an_event_or_a_timer_it_is_poison(self, stream: str, subject: str) -> None:
        message = taken(b"{}", subject=subject, stream=stream)
        assert poisoned(message)
        assert poisoned(message).startswith("subject: ")
        assert message.key == UNKEYED


HEADERS = {
    "an id with a space": ("Nats-Msg-Id", "two words", "no spaces"),
    "an id with line ends": ("Nats-Msg-Id", "a\r\nb", "visible ASCII"),
    "an id with NUL": ("Nats-Msg-Id", "a\x00b", "visible ASCII"),
    "an id that is no ASCII": ("Nats-Msg-Id", "caf\u00e9", "visible ASCII"),
    "an id without end": ("Nats-Msg-Id", "x" * 256, "1 to 255"),
    "the id of an event to come": ("Nats-Msg-Id", "payments/payment-o-42@1", "both / and @"),
    "the id of a message without one": ("Nats-Msg-Id", "COMMANDS@2026-11-21T09:00:00Z/8", "both / and @"),
    "a saga that is no key": ("Correlation-Id", "o.42", "is not a key"),
    "all sagas": ("Correlation-Id", ">", "is not a key"),
    "words for a depth": ("Causation-Depth", "many", "no small number"),
    "a depth below the ground": ("Causation-Depth", "-1", "no small number"),
    "a depth without end": ("Causation-Depth", "9" * 5_000, "no small number"),
    "a depth that leaves no room": ("Causation-Depth", "16", "a chain of 16 causes, where 16 are too many"),
}


class TestHeaders:
    """Headers are believed where they can be true."""

    @pytest.mark.parametrize(("header", "value", "problem"), HEADERS.values(), ids=HEADERS.keys())
    def test_one_that_cannot_is_refused_by_its_name(self, header: str, value: str, problem: str) -> None:
        message = taken(order(), headers={header: value})
        path, what = refusal(message)
        assert (path, problem in what, len(what) < 300) == (header, True, True)
        assert message.key == "o-42"
        check_message_id(message.message_id)

    @pytest.mark.parametrize("message_id", ["a.b", "*", ">", "../x", "<m-1@shop.example>", "{}", "x" * 255])
    def test_an_id_may_be_any_visible_ascii(self, message_id: str) -> None:
        message = taken(order(), headers={"Nats-Msg-Id": message_id})
        assert (refused(message), message.message_id) == (None, message_id)

    @pytest.mark.parametrize(
        ("header", "value"),
        [("Timer-Id", "x y"), ("Causation-Hash", "zz"), ("Causation-Id", "\x00"), ("Schema-Version", "?"), ("X", "")],
    )
    def test_one_that_a_command_does_not_have_changes_nothing(self, header: str, value: str) -> None:
        plain, forged = taken(order()), taken(order(), headers={header: value})
        assert (refused(forged), forged.message_id, forged.depth) == (None, plain.message_id, 0)
        assert commanded(forged) == commanded(plain)

    def test_a_timer_has_its_own_header_for_its_id(self) -> None:
        subject = "due.ordering.OrderDeadline.3.o-42"
        message = taken(b"{}", subject=subject, stream=TIMERS, headers={"Timer-Id": "x y", "Nats-Msg-Id": "m-1"})
        assert poisoned(message)
        assert poisoned(message).startswith("Timer-Id: 'x y' is not a message id")
        check_message_id(message.message_id)


class Door:
    """Where accepted commands go."""

    def __init__(self) -> None:
        self.published: list[Outgoing] = []

    async def publish(self, message: Outgoing) -> Published:
        self.published.append(message)
        return Published(COMMANDS, len(self.published), False)


async def asked(body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """The answer of the endpoint to an order: status, place, problem."""
    return await asked_of(MEMBERS["ordering"], PlaceOrder, Request(headers or {}, body))


async def asked_of(context: Context, command: type[Struct], request: Request) -> tuple[int, str, str]:
    door = Door()
    answer = await api_of(context, cast(Broker, door))[f"api.{context.name}.{command.__name__}"](request)
    assert answer is not None
    return told(answer, door.published)


def told(answer: Answer, published: list[Outgoing]) -> tuple[int, str, str]:
    said = json.loads(answer.body)
    if answer.error is None:
        assert len(published) == 1
        return 200, said["message_id"], ""
    assert published == []
    assert len(answer.error[1]) <= 200
    return said["status"], said["errors"][0]["path"], said["detail"]


class TestApi:
    """The API refuses a malformed request before it stores a command."""

    @pytest.mark.parametrize(("body", "path", "problem"), OF_ANY_KEY.values(), ids=OF_ANY_KEY.keys())
    async def test_a_body_is_refused_at_the_door(self, body: bytes, path: str, problem: str) -> None:
        status, where, what = await asked(body)
        assert (status, where) == (400, path)
        assert problem in what or "not a JSON object" in what

    async def test_a_body_that_is_too_large_is_not_even_parsed(self) -> None:
        assert "65537 bytes" in (await asked(b"?" * (BODY_BYTES_AT_MOST + 1)))[2]

    @pytest.mark.parametrize("key", KEYS)
    async def test_a_key_is_refused_at_the_door(self, key: str) -> None:
        status, where, what = await asked(order(order_id=key))
        assert (status, where) == (400, "$.order_id")
        assert "is not a key" in what

    @pytest.mark.parametrize("key", [7, None, ["o-42"], {}])
    async def test_a_key_that_is_no_text_is_told_with_its_place(self, key: object) -> None:
        status, where, what = await asked(order(order_id=key))
        assert (status, where) == (400, "$.order_id")
        assert "Expected `str`" in what

    @pytest.mark.parametrize("message_id", ["two words", "\u00e9", "x" * 256, "payments/payment-o-42@1"])
    async def test_an_id_is_refused_at_the_door(self, message_id: str) -> None:
        assert (await asked(order(), {"Nats-Msg-Id": message_id}))[:2] == (400, "Nats-Msg-Id")

    async def test_what_is_right_goes_through(self) -> None:
        assert await asked(order(), {"Nats-Msg-Id": "m-1"}) == (200, "m-1", "")


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
KEY = st.one_of(st.just("o-42"), st.sampled_from(KEYS), TEXT)
SLOW_IS_FINE = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
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
    @SLOW_IS_FINE
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

    @pytest.mark.parametrize("operation", OPERATIONS)
    @SLOW_IS_FINE
    @given(data=st.data())
    def test_the_bank_reads_a_request_or_says_where_it_is_wrong(self, operation: str, data: st.DataObject) -> None:
        decoder: BodyDecoder[Any] = BodyDecoder(OPERATIONS[operation], strict=True)
        body = data.draw(mutated(examples(OPERATIONS[operation])))
        error = caught(MalformedBodyError, lambda: decoder.decode(body, key="", at=NEVER))
        assert error is None or (error.path.startswith("$") and 0 < len(error.problem) <= PROBLEM_LENGTH_AT_MOST)

    @pytest.mark.parametrize(("context", "command"), [(c.name, k) for c in MEMBERS.values() for k in c.accepts])
    @SLOW_IS_FINE
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
    def test_what_yaml_itself_stumbles_over_is_told_as_well(self, text: bytes) -> None:
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
    def test_a_connection_is_found_or_what_is_wrong_is_told(self, data: st.DataObject) -> None:
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
    message = taken_by(context, stream, f"{subject}.3.{key}", headers, body)
    check_key(message.key)
    check_key(message.correlation_id)
    check_message_id(message.message_id)
    assert 0 <= message.depth < 32
    wrong = (refused(message) is not None) + bool(poisoned(message))
    assert wrong == (not isinstance(message.handling, Decide))
    assert stream != COMMANDS or not poisoned(message)
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
