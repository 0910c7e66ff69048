"""The API refuses a malformed request with its place, before it stores a command (R11)."""

import pytest

from shared.wire.bodies import BODY_BYTES_AT_MOST
from tests.unit.shared.input.hostile import KEYS
from tests.unit.shared.input.malformed import (
    OF_ANY_KEY,
    asked,
    order,
)


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
    async def test_a_key_that_is_no_text_is_reported_with_its_place(self, key: object) -> None:
        status, where, what = await asked(order(order_id=key))
        assert (status, where) == (400, "$.order_id")
        assert "Expected `str`" in what

    @pytest.mark.parametrize("message_id", ["two words", "\u00e9", "x" * 256, "payments/payment-o-42@1"])
    async def test_an_id_is_refused_at_the_door(self, message_id: str) -> None:
        assert (await asked(order(), {"Nats-Msg-Id": message_id}))[:2] == (400, "Nats-Msg-Id")

    async def test_an_actor_is_refused_at_the_door(self) -> None:
        assert (await asked(order(), {"Acting-For": "c" * 201}))[:2] == (400, "Acting-For")

    async def test_what_is_right_goes_through(self) -> None:
        assert await asked(order(), {"Nats-Msg-Id": "m-1"}) == (200, "m-1", "")
