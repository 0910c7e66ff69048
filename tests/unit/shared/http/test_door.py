"""The HTTP door: bounded, signed, idempotent, and described by the code; no bytes make it fail (R11)."""

import asyncio
import json
import re
from functools import partial
from typing import Any, cast

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contexts.door import DOOR
from shared.config.secrets import Secret
from shared.config.settings import SettingsError
from shared.http.app import DoorApp
from shared.http.openapi import ANSWERS, openapi
from shared.http.rate import CLIENTS_AT_MOST, Rate
from shared.http.reading import HEADER_BYTES_AT_MOST
from shared.http.secrets import secrets_in
from shared.http.serving import serve
from shared.ports.broker import (
    Broker,
    BrokerDeniedError,
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    Outgoing,
    Published,
)
from shared.wire.bodies import BODY_BYTES_AT_MOST
from shared.wire.messages import ACTING_FOR, MSG_ID
from shared.wire.signature import REPLAY_WINDOW_S, sign
from shared.wire.trace_context import TRACEPARENT
from tests.asgi import Said, ask
from tests.unit.shared.input.hostile import mutated
from tests.unit.shared.input.malformed import NOT_IN_BODIES, ORDER
from tests.unit.shared.input.test_random_input import SLOW_IS_FINE
from tests.waiting import WITHIN_S

NOW = 1_800_000_000
SECRET = "a-secret-of-16-or-more"
FORMER = "the-secret-before-this"
ORDERS, CARRIER = "/orders", "/webhooks/carrier"
REPORT = {"id": "e-1", "order_id": "o-42", "tracking_no": "CH1", "outcome": "delivered"}
BODY = json.dumps(ORDER).encode()
KEY = {"Idempotency-Key": "k-1"}


class Stream:
    """Stores what is published, once under each id, or fails."""

    def __init__(self, error: BrokerError | None = None) -> None:
        self.stored: list[Outgoing] = []
        self._error = error

    async def publish(self, message: Outgoing) -> Published:
        if self._error is not None:
            raise self._error
        known = [one.headers[MSG_ID] for one in self.stored]
        if message.headers[MSG_ID] in known:
            return Published("COMMANDS", known.index(message.headers[MSG_ID]) + 1, True)
        self.stored.append(message)
        return Published("COMMANDS", len(self.stored), False)


def app(
    stream: Stream, *, per_s: float = 1_000.0, trusts_actor: bool = False, secrets: tuple[str, ...] = (SECRET,)
) -> Any:
    made = DoorApp(
        DOOR,
        cast(Broker, stream),
        version="1",
        per_s=per_s,
        secrets={"carrier": secrets},
        trusts_actor=trusts_actor,
        now=lambda: NOW,
    )
    return made.asgi


async def reported(stream: Stream, *, body: dict[str, Any] = REPORT, secret: str = SECRET, at: int = NOW) -> Said:
    text = json.dumps(body).encode()
    return await ask(app(stream, secrets=(SECRET, FORMER)), CARRIER, text, {"Signature": sign(secret, text, at)})


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


class TestWebhooks:
    """`POST /webhooks/carrier` is believed by its signature, for five minutes, and has one effect."""

    @pytest.mark.parametrize(
        ("outcome", "command"),
        [("delivered", "ReportDelivered"), ("lost", "ReportLost"), ("returned", "ReportReturned")],
    )
    async def test_signed_report_is_stored_under_the_id_of_its_sender(self, outcome: str, command: str) -> None:
        stream = Stream()
        said = await reported(stream, body={**REPORT, "outcome": outcome})
        assert said.status == 202, said.body
        (stored,) = stream.stored
        assert stored.subject == f"cmd.shipping.{command}.o-42"
        assert re.fullmatch("carrier-e-1:[0-9a-f]{32}", stored.headers[MSG_ID])
        assert json.loads(stored.body) == {"order_id": "o-42", "tracking_no": "CH1"}

    async def test_another_report_under_the_same_id_is_stored_too(self) -> None:
        """The stream would drop it unread, and the carrier would take it for stored."""
        stream = Stream()
        assert (await reported(stream)).status == 202
        assert (await reported(stream, body={**REPORT, "order_id": "o-43"})).status == 202
        assert [one.subject.rpartition(".")[2] for one in stream.stored] == ["o-42", "o-43"]

    async def test_report_that_comes_twice_is_stored_once(self) -> None:
        stream = Stream()
        assert [(await reported(stream)).status for _ in range(2)] == [202, 200]

    async def test_former_secret_signs_while_it_is_exchanged(self) -> None:
        assert (await reported(Stream(), secret=FORMER)).status == 202

    @pytest.mark.parametrize("age_s", [REPLAY_WINDOW_S + 1, -REPLAY_WINDOW_S - 1])
    async def test_report_outside_the_window_is_refused(self, age_s: int) -> None:
        stream = Stream()
        assert (await reported(stream, at=NOW - age_s)).status == 401
        assert stream.stored == []

    async def test_report_at_the_edge_of_the_window_is_taken(self) -> None:
        assert (await reported(Stream(), at=NOW - REPLAY_WINDOW_S)).status == 202

    @pytest.mark.parametrize(
        "signature",
        [
            "",
            "t=1",
            f"t={NOW},v1={'0' * 64}",
            f"t={NOW},v1=" + "0" * 63,
            sign(SECRET, b"another body", NOW),
            sign(SECRET, json.dumps(REPORT).encode(), NOW).replace(str(NOW), str(NOW - 1)),
            "t=" + "9" * 400 + ",v1=" + "0" * 64,
        ],
    )
    async def test_report_with_another_signature_is_refused(self, signature: str) -> None:
        stream = Stream()
        said = await ask(app(stream), CARRIER, json.dumps(REPORT).encode(), {"Signature": signature})
        assert (said.status, said.content["errors"]) == (401, [{"path": "Signature"}])
        assert SECRET.encode() not in said.body
        assert stream.stored == []

    async def test_door_without_a_secret_believes_nobody(self) -> None:
        text = json.dumps(REPORT).encode()
        said = await ask(app(Stream(), secrets=()), CARRIER, text, {"Signature": sign("", text, NOW)})
        assert said.status == 503

    @pytest.mark.parametrize("changed", [{"order_id": "a b"}, {"id": "a b"}, {"outcome": "eaten"}, {"id": ""}])
    async def test_signed_report_that_means_nothing_is_refused(self, changed: dict[str, str]) -> None:
        assert (await reported(Stream(), body={**REPORT, **changed})).status == 400


class TestRate:
    """A client may send a burst, then so many a second; others do not notice."""

    async def test_client_beyond_its_rate_is_told_when_to_come_again(self) -> None:
        limited = app(Stream(), per_s=1.0)
        answers = [await ask(limited, ORDERS, BODY, {"Idempotency-Key": f"k-{n}"}) for n in range(4)]
        assert [said.status for said in answers][:2] == [202, 202]
        assert answers[-1].status == 429
        assert answers[-1].headers["retry-after"] == "1"
        assert (await ask(limited, ORDERS, BODY, {"Idempotency-Key": "other"}, client="192.0.2.2")).status == 202

    def test_tokens_come_back_with_time(self) -> None:
        now = [0.0]
        rate = Rate(2.0, lambda: now[0])
        assert [rate.wait_s("a") for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]
        now[0] = 0.5
        assert rate.wait_s("a") == 0.0

    def test_clients_are_forgotten_beyond_a_bound(self) -> None:
        rate = Rate(0.5, lambda: 0.0)
        for number in range(CLIENTS_AT_MOST + 50):
            rate.wait_s(str(number))
        assert len(rate._buckets) == CLIENTS_AT_MOST


class TestServing:
    """A client that sends nothing keeps no place from others."""

    @pytest.mark.parametrize(
        "begun", [b"", b"POST /orders HTTP/1.1\r\nHost: x\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET"]
    )
    async def test_connection_without_the_headers_of_a_request_is_closed(self, begun: bytes) -> None:
        url: asyncio.Future[str] = asyncio.Future()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serve, headers_within_s=0.02), app(Stream()), "127.0.0.1", 0, url.set_result)
            reader, writer = await asyncio.open_connection("127.0.0.1", int((await url).rpartition(":")[2]))
            writer.write(begun)
            with anyio.fail_after(WITHIN_S):
                answered = await reader.read()
            assert answered.startswith(b"HTTP/1.1 200") == begun.startswith(b"GET")
            writer.close()
            tasks.cancel_scope.cancel()


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


class TestSecrets:
    """One setting holds them, and no message quotes them."""

    def test_sender_may_have_two(self) -> None:
        text = Secret(f"carrier={SECRET},carrier={FORMER}")
        assert secrets_in(text, ["carrier"]) == {"carrier": (SECRET, FORMER)}
        assert secrets_in(Secret(""), ["carrier"]) == {}

    @pytest.mark.parametrize("text", [f"courier={SECRET}", SECRET, "carrier=short", f"carrier{SECRET}"])
    def test_mistake_is_reported_without_the_secret(self, text: str) -> None:
        with pytest.raises(SettingsError) as raised:
            secrets_in(Secret(text), ["carrier"])
        assert SECRET not in str(raised.value)
        assert "short," not in str(raised.value)


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
