"""Requests to a context over a real server: decided like commands, answered after the commit, once per key."""

import asyncio
import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import nats
import pytest
from msgspec import Struct
from nats.aio.client import Client

from shared.adapters.clock import SystemClock
from shared.context import Context, Endpoint, Rejected, Request
from shared.engine.requests import WAITING_AT_MOST, Requests
from shared.engine.route.routing import Routing
from shared.engine.route.tracing import SpanTracing
from shared.repair.parked import parked_in, retry
from shared.repair.rebuild import rebuild
from shared.wire.messages import CORRELATION_ID
from shared.wire.trace_context import TRACEPARENT
from tests.integration.engine import BRIEFLY_MS, PARTITIONS, Counter, at_work, rejection, until_idle
from tests.integration.till import JAMS_AT, Ring, Rung, stuck_till, till
from tests.waiting import WITHIN_S

RING = "svc.till.ring"
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Amount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ring this amount at that till."""

    till: str
    amount: int


class Total(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The total after it, or why there is none."""

    total: int = 0
    refused: str = ""


def ring(asked: Amount) -> Ring:
    return Ring(till_id=asked.till, amount=asked.amount)


def total(events: tuple[Struct, ...]) -> Total:
    (event,) = events
    if isinstance(event, Rejected):
        return Total(refused=event.reason)
    assert isinstance(event, Rung)
    return Total(total=event.total)


def asked_till(context: Context | None = None) -> Context:
    """A till that also takes requests."""
    endpoint = Endpoint(subject=RING, request=Amount, asks=ring, answer=total)
    return dataclasses.replace(context or till(), endpoints=(endpoint,), lookup="svc.till.lookup")


@asynccontextmanager
async def raw_client(counter: Counter) -> AsyncIterator[Client]:
    """A client without our adapter, as a stranger has one."""
    client = await nats.connect(counter.url)
    try:
        yield client
    finally:
        await client.close()


async def ask(counter: Counter, key: str, amount: int, till_id: str = "t-1") -> Mapping[str, object] | str:
    """The answer's JSON, or the code of an error."""
    body = json.dumps({"till": till_id, "amount": amount}).encode()
    headers, answer = await counter.broker.request(RING, body, {"Idempotency-Key": key}, WITHIN_S)
    found: Mapping[str, object] | str = headers.get("Nats-Service-Error-Code") or json.loads(answer)
    return found


async def test_requests_and_commands_about_one_aggregate_are_decided_in_one_order(counter: Counter) -> None:
    async with at_work(counter, asked_till()):
        await counter.ring("t-1", 1)
        await until_idle(counter)
        assert await ask(counter, "k-1", 2) == {"total": 3}
        await counter.ring("t-1", 4)
        await counter.watcher.until("t-1", "Rung", times=3)
        assert counter.totals("t-1") == [1, 3, 7]


async def test_many_requests_at_once_share_transactions_and_each_has_its_own_answer(counter: Counter) -> None:
    async with at_work(counter, asked_till()) as process:
        before = process.loop.counters.batches
        answers = await asyncio.gather(*(ask(counter, f"k-{n}", 1) for n in range(200)))
        assert sorted(answer["total"] for answer in answers if isinstance(answer, dict)) == [*range(1, 201)]
        assert process.loop.counters.batches - before < 100


async def test_answer_under_a_key_is_kept_over_a_restart_and_a_rebuild(counter: Counter) -> None:
    async with at_work(counter, asked_till()):
        assert await ask(counter, "k-1", 2) == {"total": 2}
        assert await ask(counter, "k-2", 3) == {"total": 5}
        assert await ask(counter, "k-1", 2) == {"total": 2}
        assert await ask(counter, "k-1", 3) == "409"
        await counter.watcher.until("t-1", "Rung", times=2)
    async with at_work(counter, asked_till()):
        assert await ask(counter, "k-1", 2) == {"total": 2}
    await rebuild(asked_till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
    async with at_work(counter, asked_till()):
        assert await ask(counter, "k-1", 2) == {"total": 2}
        assert await ask(counter, "k-2", 2) == "409"
    assert counter.totals("t-1") == [2, 5]


async def test_stored_message_that_the_server_delivers_as_a_request_is_not_decided(counter: Counter) -> None:
    """A client may not ask, but may read a message of its own, and the server delivers it to any reply subject."""
    async with at_work(counter, asked_till()), raw_client(counter) as client:
        seen = await client.subscribe(RING)
        forged = json.dumps({"till": "t-1", "amount": 100}).encode()
        stored = await client.jetstream().publish("dlq.other.Forged.k", forged, headers={"Idempotency-Key": "forged"})
        for subject, body in (
            ("$JS.API.DIRECT.GET.DEAD_LETTERS", {"seq": stored.seq}),
            (
                "$JS.API.CONSUMER.CREATE.DEAD_LETTERS.evil",
                {"stream_name": "DEAD_LETTERS", "config": {"name": "evil", "deliver_subject": RING}},
            ),
        ):
            is_get = "DIRECT" in subject
            await client.publish(subject, json.dumps(body).encode(), reply=RING if is_get else "_INBOX.unheard")
            message = await seen.next_msg(WITHIN_S)
            assert (message.data, message.reply.startswith("$JS.ACK.")) == (forged, not is_get)
        for reply in ("evt.till.Rung.t-1", "svc.till.ring", "timer.till.Some.t-1"):
            await client.publish(RING, forged, reply=reply, headers={"Idempotency-Key": "forged"})
        assert await ask(counter, "k-1", 2) == {"total": 2}
        await counter.watcher.until("t-1", "Rung")
    assert counter.totals("t-1") == [2]


async def test_rejected_request_is_reported_and_rejected_for_good(counter: Counter) -> None:
    async with at_work(counter, asked_till()):
        await counter.publish("cmd.till.CloseAt.t-1", b'{"closes_at": "2026-01-01T00:00:00Z"}')
        await counter.watcher.until("t-1", "TillClosed")
        assert await ask(counter, "k-1", 2) == {"refused": "closed"}
        assert rejection(await counter.watcher.until("t-1", "CommandRejected")) == ("closed", [])
    await rebuild(asked_till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
    assert counter.rows("SELECT idempotency_key, operation, answer FROM answers") == [
        ("k-1", "ring", b'{"refused":"closed"}')
    ]


async def test_request_on_which_our_code_fails_has_an_error_and_is_decided_when_it_is_asked_again(
    counter: Counter, tmp_path: Path
) -> None:
    stuck = tmp_path / "stuck"
    stuck.write_text(str(JAMS_AT))
    async with at_work(counter, asked_till(stuck_till(stuck))):
        assert await ask(counter, "k-1", JAMS_AT) == "500"
        assert await ask(counter, "k-2", 1) == {"total": 1}
        assert counter.rows("SELECT idempotency_key FROM answers") == [("k-2",)]
        stuck.write_text("")
        assert await ask(counter, "k-1", JAMS_AT) == {"total": 14}


async def test_request_that_our_code_cannot_make_a_command_of_has_an_error(counter: Counter) -> None:
    def jam(asked: Amount) -> Ring:
        raise RuntimeError(f"no such till: {asked.till}")

    endpoint = Endpoint(subject=RING, request=Amount, asks=jam, answer=total)
    async with at_work(counter, dataclasses.replace(till(), endpoints=(endpoint,))):
        assert await ask(counter, "k-1", 1) == "500"


async def test_request_about_a_parked_key_is_put_off_and_others_are_answered(counter: Counter, tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"
    stuck.write_text(str(JAMS_AT))
    async with at_work(counter, asked_till(stuck_till(stuck))):
        await counter.ring("t-1", JAMS_AT)
        await counter.watcher.until("t-1", "MessageParked")
        assert await ask(counter, "k-1", 1) == "503"
        assert await ask(counter, "k-2", 1, "t-2") == {"total": 1}
        stuck.write_text("")
        await retry(counter.databases, parked_in(counter.databases, ["till"]), who="me")
        await counter.watcher.until("t-1", "Rung")
        assert await ask(counter, "k-1", 1) == {"total": JAMS_AT + 1}


async def test_requests_to_a_locked_database_are_put_off_and_decided_when_asked_again(counter: Counter) -> None:
    async with at_work(counter, asked_till(), busy_timeout_ms=BRIEFLY_MS):
        with closing(sqlite3.connect(counter.directory / "till.db", isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            assert await ask(counter, "k-1", 2) == "503"
            another.execute("ROLLBACK")
        with anyio.fail_after(WITHIN_S):
            while (answer := await ask(counter, "k-1", 2)) == "503":
                pass  # The worker tries the database again after a moment, and puts requests off until then.
        assert answer == {"total": 2}


async def test_requests_are_put_off_while_too_many_rows_are_refused(counter: Counter) -> None:
    async with at_work(counter, asked_till()) as process:
        process.relay.blocked.refused_at_most = 0
        assert await ask(counter, "k-1", 2) == "503"
        process.relay.blocked.refused_at_most = 1
        assert await ask(counter, "k-1", 2) == {"total": 2}


async def test_queue_of_requests_is_bounded(counter: Counter) -> None:
    routing = Routing(asked_till(), partitions=PARTITIONS)
    store = await counter.databases.open("till")
    requests = Requests(routing, store, SystemClock(), wake=lambda: None)
    body = b'{"till": "t-1", "amount": 1}'

    def asking(n: int) -> "asyncio.Task[object]":
        return asyncio.ensure_future(requests.endpoints[RING](Request({"Idempotency-Key": f"k-{n}"}, body)))

    waiting = [asking(n) for n in range(WAITING_AT_MOST)]
    await asyncio.sleep(0)  # Each of them begins.
    refused = await requests.endpoints[RING](Request({"Idempotency-Key": "k-more"}, body))
    assert refused is not None
    assert refused.error is not None
    assert refused.error[0] == "503"
    taken = requests.take(2)
    assert [message.message_id for message in taken] == ["k-0", "k-1"]
    requests.restore(taken)
    assert [message.message_id for message in requests.take(3)] == ["k-0", "k-1", "k-2"]
    requests.close()
    answers = await asyncio.gather(*waiting)
    assert {getattr(answer, "error", ("", ""))[0] for answer in answers} == {"503"}
    await store.close()


@pytest.mark.parametrize("key", ["", "k k", 256 * "k"])
async def test_key_that_is_none_is_a_bad_request(counter: Counter, key: str) -> None:
    async with at_work(counter, asked_till()):
        body = b'{"till": "t-1", "amount": 1}'
        headers, _ = await counter.broker.request(RING, body, {"Idempotency-Key": key} if key else {}, WITHIN_S)
        assert headers["Nats-Service-Error-Code"] == "400"
        assert "Idempotency-Key" in headers["Nats-Service-Error"]


@pytest.mark.parametrize(
    ("headers", "begins"),
    [({}, True), ({CORRELATION_ID: "o-1"}, False), ({CORRELATION_ID: "o-1", TRACEPARENT: GIVEN}, False)],
    ids=["of a client", "of an untraced saga", "of a traced saga"],
)
def test_only_a_request_of_a_client_begins_a_trace(headers: dict[str, str], begins: bool) -> None:
    """The effect of another context sends the saga along, and the first cause of that saga has chosen."""
    routing = Routing(
        asked_till(),
        partitions=PARTITIONS,
        tracing=SpanTracing("till", NoSpans(), SystemClock(), traces_per_s=1),
    )
    (endpoint,) = routing.endpoints.values()
    message = routing.asked(endpoint, 1, "k-1", Amount(till="t-1", amount=1), headers)
    given = headers.get(TRACEPARENT, "")
    assert (message.traceparent not in ("", given), message.traceparent == given) == (begins, not begins)


class NoSpans:
    """Takes no span."""

    def add(self, spans: object) -> None:
        raise AssertionError(spans)
