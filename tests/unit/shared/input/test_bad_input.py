"""The engine accepts, refuses or parks every input; a refusal names the mistake and its remedy (R11)."""

import json
import sys
import time

import pytest

from shared.engine.route.routing import UNKEYED
from shared.wire.bodies import BODY_BYTES_AT_MOST, PROBLEM_LENGTH_AT_MOST
from shared.wire.messages import (
    MalformedKeyError,
    check_message_id,
    command_subject,
)
from shared.wire.streams import EVENTS, TIMERS
from tests.unit.shared.input.hostile import KEYS
from tests.unit.shared.input.malformed import (
    BODIES,
    commanded,
    form,
    order,
    poisoned,
    refusal,
    refused,
    strange,
    taken,
    taken_by,
)

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
PLACED = "evt.ordering.OrderPlaced.3.o-42"


def placed(amount: bytes) -> bytes:
    """An OrderPlaced as payments reads it, with this amount."""
    event = {"order_id": "o-42", "total": {"amount_minor": "?", "currency": "EUR"}, "method_token": "tok_ok"}
    return json.dumps(event).encode().replace(b'"?"', amount)


class TestBodies:
    """A command whose body is wrong is refused; an event is parked."""

    @pytest.mark.parametrize(("body", "path", "problem"), BODIES.values(), ids=BODIES.keys())
    def test_it_is_refused_with_its_place_and_what_is_wrong(self, body: bytes, path: str, problem: str) -> None:
        where, what = refusal(taken(body))
        assert (where, what) == (path, what)
        assert problem in what

    @pytest.mark.parametrize(("raw", "path", "problem"), AMOUNTS.values(), ids=AMOUNTS.keys())
    def test_of_an_event_it_is_poison(self, raw: bytes, path: str, problem: str) -> None:
        message = taken_by("payments", EVENTS, PLACED, form(PLACED), placed(raw))
        assert poisoned(message)
        assert poisoned(message).startswith(f"{path}: ")
        assert problem in poisoned(message)
        assert (refused(message), message.key, commanded(message)) == (None, "o-42", ())

    def test_an_event_may_have_grown(self) -> None:
        message = taken_by("payments", EVENTS, PLACED, form(PLACED), placed(b'1999, "vat": {"of": [7]}'))
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
    "words for a depth": ("Causation-Depth", "many", "is not a number below 16"),
    "a depth below the ground": ("Causation-Depth", "-1", "is not a number below 16"),
    "a depth without end": ("Causation-Depth", "9" * 5_000, "is not a number below 16"),
    "a depth that leaves no room": ("Causation-Depth", "16", "causation depth 16 reaches the limit 16"),
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
        assert strange(message).startswith("Timer-Id: 'x y' is not a message id")
        check_message_id(message.message_id)
