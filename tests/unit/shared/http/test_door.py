"""The HTTP door takes commands: idempotent, and described by the code; no bytes make it fail (R11)."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contexts.door import DOOR
from shared.http.openapi import ANSWERS, openapi
from shared.http.reading import HEADER_BYTES_AT_MOST
from shared.ports.broker import (
    BrokerDeniedError,
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    Outgoing,
)
from shared.wire.bodies import BODY_BYTES_AT_MOST
from shared.wire.messages import ACTING_FOR, MSG_ID
from shared.wire.signature import sign
from shared.wire.trace_context import TRACEPARENT
from tests.asgi import ask
from tests.unit.shared.http.door import BODY, CARRIER, KEY, NOW, ORDERS, REPORT, SECRET, Stream, app, reported
from tests.unit.shared.input.hostile import mutated
from tests.unit.shared.input.malformed import NOT_IN_BODIES, ORDER
from tests.unit.shared.input.test_random_input import SLOW_IS_FINE


class TestCommands:
    """`POST /orders` is `cmd.ordering.PlaceOrder.<key>`."""

    async def test_order_is_stored_and_answered_with_the_puback(self) -> None:
        stream = Stream()
        said = await ask(app(stream), ORDERS, BODY, KEY, chunks=3)
        assert said.status == 202
        message_id = said.content["message_id"]
        assert re.fullmatch("k-1:[0-9a-f]{32}", message_id)
        assert said.content == {
            "order_id": "o-42",
            "message_id": message_id,
            "stream": "COMMANDS",
            "seq": 1,
            "duplicate": False,
            "watch": "evt.*.*.*.o-42",
        }
        assert stream.stored == [Outgoing("cmd.ordering.PlaceOrder.o-42", {MSG_ID: message_id}, BODY)]

    async def test_same_key_is_stored_once_also_where_the_body_names_no_order(self) -> None:
        stream = Stream()
        body = json.dumps({name: value for name, value in ORDER.items() if name != "order_id"}).encode()
        first, again = [await ask(app(stream), ORDERS, body, KEY) for _ in range(2)]
        assert (first.status, again.status) == (202, 200)
        assert again.content == {**first.content, "duplicate": True}
        assert first.content["order_id"].startswith("h-")
        other = await ask(app(stream), ORDERS, body, {"Idempotency-Key": "k-2"})
        assert other.content["order_id"] != first.content["order_id"]

    async def test_same_request_is_known_again_however_its_json_is_written(self) -> None:
        stream = Stream()
        rewritten = json.dumps(dict(reversed(ORDER.items())), indent=1).encode()
        assert [(await ask(app(stream), ORDERS, body, KEY)).status for body in (BODY, rewritten)] == [202, 200]

    @pytest.mark.parametrize("changed", [{"order_id": "o-43"}, {"email": "hers@example.org"}])
    async def test_other_request_under_a_used_key_is_not_dropped(self, changed: dict[str, str]) -> None:
        stream = Stream()
        bodies = [BODY, json.dumps({**ORDER, **changed}).encode()]
        assert [(await ask(app(stream), ORDERS, body, KEY)).status for body in bodies] == [202, 202]
        assert [message.body for message in stream.stored] == bodies

    async def test_other_actor_s_request_under_a_used_key_is_another_order(self) -> None:
        stream = Stream()
        body = json.dumps({name: value for name, value in ORDER.items() if name != "order_id"}).encode()
        said = [
            await ask(app(stream, trusts_actor=True), ORDERS, body, {**KEY, ACTING_FOR: actor})
            for actor in ("c-1", "c-2")
        ]
        assert [one.status for one in said] == [202, 202]
        assert said[0].content["order_id"] != said[1].content["order_id"]

    async def test_client_cannot_take_the_id_of_a_webhook_s_message(self) -> None:
        stream = Stream()
        await ask(app(stream), ORDERS, BODY, {"Idempotency-Key": "carrier-e-1"})
        assert (await reported(stream)).status == 202

    @pytest.mark.parametrize("key", ["", "a b", "x" * 201, "ordering/order-o-1@1"])
    async def test_request_without_a_proper_idempotency_key_is_refused(self, key: str) -> None:
        stream = Stream()
        said = await ask(app(stream), ORDERS, BODY, {"Idempotency-Key": key} if key else {})
        assert (said.status, said.content["errors"]) == (400, [{"path": "Idempotency-Key"}])
        assert stream.stored == []

    async def test_headers_that_are_too_large_are_refused(self) -> None:
        stream = Stream()
        said = await ask(app(stream), ORDERS, BODY, {**KEY, "X": "x" * HEADER_BYTES_AT_MOST})
        assert (said.status, said.headers["connection"], stream.stored) == (431, "close", [])

    @pytest.mark.parametrize(
        ("body", "status", "path"),
        [
            (b"", 400, "$"),
            (b"[]", 400, "$"),
            (b"\xff", 400, "$"),
            (b"[" * 60_000, 400, "$"),
            (json.dumps({**ORDER, "order_id": "a b"}).encode(), 400, "$.order_id"),
            (json.dumps({**ORDER, "lines": []}).encode(), 400, "$.lines"),
            (json.dumps({**ORDER, "acting_for": "c-1"}).encode(), 400, "$.acting_for"),
            (BODY.ljust(BODY_BYTES_AT_MOST + 1), 413, "$"),
        ],
    )
    async def test_wrong_body_is_refused_with_its_place(self, body: bytes, status: int, path: str) -> None:
        stream = Stream()
        said = await ask(app(stream), ORDERS, body, KEY, chunks=7)
        assert (said.status, said.content["errors"][0]["path"]) == (status, path)
        assert said.headers["content-type"] == "application/problem+json"
        assert stream.stored == []

    async def test_length_that_is_too_large_is_refused_before_the_body_is_read(self) -> None:
        assert (await ask(app(Stream()), ORDERS, b"", {**KEY, "Content-Length": "9" * 30})).status == 413

    @pytest.mark.parametrize("kind", ["", "text/plain", "application/jsonx", "multipart/form-data"])
    async def test_other_media_are_refused(self, kind: str) -> None:
        assert (await ask(app(Stream()), ORDERS, BODY, {**KEY, "content-type": kind})).status == 415

    async def test_actor_is_passed_on_only_where_the_door_trusts_its_proxy(self) -> None:
        for trusts, expected in ((False, None), (True, "c-1")):
            stream = Stream()
            await ask(app(stream, trusts_actor=trusts), ORDERS, BODY, {**KEY, ACTING_FOR: "c-1"})
            assert stream.stored[0].headers.get(ACTING_FOR) == expected

    @pytest.mark.parametrize("actors", [{ACTING_FOR: "c-1", "acting-for": "c-2"}, {ACTING_FOR: "c" * 201}])
    async def test_actor_that_is_not_one_is_refused_with_its_place(self, actors: dict[str, str]) -> None:
        stream = Stream()
        said = await ask(app(stream, trusts_actor=True), ORDERS, BODY, {**KEY, **actors})
        assert (said.status, said.content["errors"]) == (400, [{"path": ACTING_FOR}])
        assert stream.stored == []

    async def test_trace_of_the_client_goes_on_and_what_is_none_does_not(self) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        for sent, expected in ((trace, trace), ("00-0af7-b7ad-01", None)):
            stream = Stream()
            await ask(app(stream), ORDERS, BODY, {**KEY, TRACEPARENT: sent})
            assert stream.stored[0].headers.get(TRACEPARENT) == expected

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (BrokerRefusedError(10077, "maximum messages exceeded"), 503),
            (BrokerUnavailableError("no answer"), 504),
        ],
    )
    async def test_trouble_of_the_broker_says_when_to_come_again(self, error: BrokerError, status: int) -> None:
        said = await ask(app(Stream(error)), ORDERS, BODY, KEY)
        assert said.status == status
        assert "send it again under the same Idempotency-Key" in said.content["detail"]
        assert int(said.headers["retry-after"]) > 0

    async def test_permission_that_the_door_lacks_is_a_fault_and_is_not_told(self) -> None:
        said = await ask(app(Stream(BrokerDeniedError("user hers may not publish"))), ORDERS, BODY, KEY)
        assert (said.status, "hers" in said.content["detail"]) == (500, False)

    @pytest.mark.parametrize(("method", "path", "status"), [("GET", ORDERS, 405), ("POST", "/else", 404)])
    async def test_other_methods_and_paths_are_none(self, method: str, path: str, status: int) -> None:
        assert (await ask(app(Stream()), path, method=method)).status == status


class TestOpenApi:
    """The description follows from the code."""

    async def test_document_names_every_path_and_every_answer(self) -> None:
        said = (await ask(app(Stream()), "/openapi.json", method="GET")).content
        assert said == msgspec.json.decode(msgspec.json.encode(openapi(DOOR, "1")))
        assert list(said["paths"]) == [ORDERS, CARRIER]
        assert {*said["paths"][CARRIER]["post"]["responses"]} == {*ANSWERS}
        placed = said["components"]["schemas"]["PlaceOrder"]
        assert {"order_id", "lines", "address"} <= {*placed["properties"]}
        assert not {*NOT_IN_BODIES} & {*placed["properties"]}


HEADERS = st.dictionaries(
    st.sampled_from(["Idempotency-Key", "Signature", "Content-Type", "Content-Length", ACTING_FOR, "X"]),
    st.one_of(st.text(max_size=40), st.sampled_from(["k-1", "application/json", "9" * 400, "-1", f"t={NOW},v1="])),
)


class TestFuzz:
    """The answer is always one of those that are documented, and only a good command is stored."""

    @SLOW_IS_FINE
    @given(data=st.data())
    async def test_any_bytes_are_answered(self, data: st.DataObject) -> None:
        stream = Stream()
        path = data.draw(st.sampled_from([ORDERS, CARRIER]))
        body = data.draw(st.one_of(st.binary(max_size=300), mutated([ORDER, REPORT])))
        headers = data.draw(HEADERS)
        if data.draw(st.booleans()):
            headers |= {"Idempotency-Key": "k-1", "Content-Type": "application/json"}
            headers["Signature"] = sign(SECRET, body, NOW)
            headers.pop("Content-Length", None)
        said = await ask(app(stream), path, body, headers, chunks=data.draw(st.integers(1, 3)))
        assert str(said.status) in ANSWERS
        assert len(stream.stored) == (said.status == 202)
        for message in stream.stored:
            msgspec.json.decode(message.body)
