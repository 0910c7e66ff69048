"""Events are forwarded at least once, in order per key, and a bounded number at a time; in virtual time."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from typing import Any, TypeVar

import anyio
import pytest

from shared.adapters.sqlite.views.forwards import SqliteForwardRows, make_forwards
from shared.adapters.sqlite.views.tables import SCHEMA
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.adapters.virtual_time import VirtualClock, VirtualLoop
from shared.config.secrets import Secret, SecretUrl
from shared.engine.monitor.alarms import Alarms
from shared.engine.wakeup import Wakeup
from shared.groups.forwarding.cloud_event import headers_of
from shared.groups.forwarding.forwarder import AT_ONCE, ATTEMPTS_AT_MOST, IN_MEMORY_AT_MOST, Forwarder
from shared.ports.forwards import ForwardRow, NoReplyError, Reply
from shared.ports.views import ViewTransaction
from shared.readside.group import Forwards
from shared.repair.unresolved import Undelivered, choose
from shared.wire.messages import CORRELATION_ID, SCHEMA_VERSION
from shared.wire.signature import check_signature

T = TypeVar("T")

SECRET = "a-secret-of-16-or-more"
FORWARDS = Forwards(events=(), url=SecretUrl("http://endpoint.example"), secret=Secret(SECRET))
OK = Reply(200)
BODY = b'{"n": 1}'
HOUR_S = 3600.0

Answer = Callable[[str, int], Reply | Exception]
"""The reply to the n-th attempt at an event."""


def event(key: str, version: int) -> ForwardRow:
    identity = f"here/thing-{key}@{version}"
    headers = {CORRELATION_ID: key, SCHEMA_VERSION: "2"}
    return ForwardRow(0, key, identity, 7, "here", "ThingDone", "2026-11-28T09:00:00.000000Z", headers, BODY)


class Endpoint:
    """A sender that answers as the test says, after a moment of virtual time."""

    def __init__(self, answer: Answer = lambda _, __: OK) -> None:
        self.answer = answer
        self.attempts: list[str] = []
        self.delivered: list[str] = []
        self.at_once = self.at_once_at_most = 0

    async def send(self, headers: Mapping[str, str], body: bytes) -> Reply:
        assert body == BODY
        identity = headers["ce-id"].removeprefix("here/thing-")
        self.attempts.append(identity)
        self.at_once += 1
        self.at_once_at_most = max(self.at_once_at_most, self.at_once)
        try:
            await asyncio.sleep(random.uniform(0.001, 0.02))
            reply = self.answer(identity, self.attempts.count(identity))
        finally:
            self.at_once -= 1
        if isinstance(reply, Exception):
            raise reply
        if reply.status < 300:
            self.delivered.append(identity)
        return reply

    async def close(self) -> None:
        """Nothing to close."""


class Books:
    """The database of the group."""

    def __init__(self, *rows: ForwardRow) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(SCHEMA)
        make_forwards(self.connection)
        self.add(*rows)

    @property
    def rows(self) -> SqliteForwardRows:
        return SqliteForwardRows(self.connection)

    def add(self, *rows: ForwardRow) -> None:
        self.rows.add(rows)

    async def transact(self, work: Callable[[ViewTransaction], T]) -> T:
        await asyncio.sleep(random.uniform(0.001, 0.02))
        result = work(SqliteViewTransaction(self.connection))
        await asyncio.sleep(random.uniform(0.001, 0.02))
        return result

    def judge(self, verdict: str, chosen: str = "reason <> ''") -> None:
        self.connection.execute("INSERT OR REPLACE INTO forwards_verdicts SELECT n, 'me', 'why' FROM forwards")
        self.connection.execute(f"UPDATE forwards SET verdict = ? WHERE {chosen}", (verdict,))

    def parked(self) -> list[tuple[str, str]]:
        query = "SELECT event_id, reason FROM forwards WHERE reason <> '' ORDER BY n"
        return [(one.removeprefix("here/thing-"), reason) for one, reason in self.connection.execute(query)]

    def left(self) -> int:
        (number,) = self.connection.execute("SELECT count(*) FROM forwards").fetchone()
        return int(number)


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books()
    with closing(made.connection):
        yield made


def run(work: Callable[[VirtualClock], Coroutine[Any, Any, T]], seed: int = 1) -> T:
    """Run in virtual time."""
    loop = VirtualLoop(seed)
    random.seed(seed)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(VirtualClock(loop)))


@asynccontextmanager
async def forwarding(books: Books, endpoint: Endpoint, clock: VirtualClock) -> AsyncIterator[Forwarder]:
    """A forwarder and the loop of its group; the end of the block kills both."""
    wakeup = Wakeup()
    forwarder = Forwarder("here-out", FORWARDS, endpoint, clock, Alarms(clock), wakeup.set)

    async def loop() -> None:
        while True:
            wakeup.clear()
            await forwarder.settle(books.transact)
            if not wakeup.is_set:
                await wakeup.wait(0.5)

    async with anyio.create_task_group() as tasks:
        forwarder.start(tasks)
        tasks.start_soon(loop)
        yield forwarder
        tasks.cancel_scope.cancel()


async def all_sent(forwarder: Forwarder, clock: VirtualClock, within_s: float = 5 * HOUR_S) -> None:
    until = clock.monotonic() + within_s
    while not forwarder.is_resting:
        assert clock.monotonic() < until, "not delivered in time"
        await asyncio.sleep(0.5)


def forwarded(books: Books, endpoint: Endpoint, seed: int = 1) -> None:
    """Forward everything that can be."""

    async def work(clock: VirtualClock) -> None:
        async with forwarding(books, endpoint, clock) as forwarder:
            await all_sent(forwarder, clock)

    run(work, seed)


def test_an_event_is_a_cloud_event_in_binary_mode_that_is_signed() -> None:
    at = datetime(2026, 11, 28, 9, 0, 1, tzinfo=UTC)
    headers = dict(headers_of(event("o-1", 3), SECRET, at))
    check_signature([SECRET], headers.pop("signature"), BODY, at.timestamp())
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "here/thing-o-1@3",
        "ce-source": "/here",
        "ce-type": "here.ThingDone",
        "ce-subject": "o-1",
        "ce-time": "2026-11-28T09:00:00.000000Z",
        "ce-sequence": "7",
        "ce-correlationid": "o-1",
        "ce-schemaversion": "2",
        "content-type": "application/json",
    }


def test_a_header_of_a_stranger_can_break_no_request() -> None:
    evil = event("o-1", 1)._replace(event_id='here/thing-o-1.\r\nx: "ü"@1')
    assert headers_of(evil, SECRET, datetime.now(UTC))["ce-id"] == "here/thing-o-1.%0D%0Ax:%20%22%C3%BC%22@1"


def test_events_of_one_key_keep_their_order_while_other_keys_go_on(books: Books) -> None:
    books.add(event("a", 1), event("a", 2), event("b", 1))
    endpoint = Endpoint(lambda one, attempt: Reply(503) if one == "a@1" and attempt < 3 else OK)
    forwarded(books, endpoint)
    assert endpoint.delivered == ["b@1", "a@1", "a@2"]
    assert books.left() == 0


def test_a_refused_event_keeps_the_later_ones_of_its_key_until_an_operator_has_decided(books: Books) -> None:
    books.add(event("a", 1), event("a", 2), event("b", 1), event("c", 1), event("c", 2))
    refused = {"a@1", "c@1"}
    endpoint = Endpoint(lambda one, _: Reply(400) if one in refused else OK)
    forwarded(books, endpoint)
    assert endpoint.attempts.count("a@1") == 1
    assert endpoint.delivered == ["b@1"]
    assert books.parked() == [("a@1", "the endpoint answers 400"), ("c@1", "the endpoint answers 400")]
    books.judge("retry", "key = 'a' AND reason <> ''")
    books.judge("skip", "key = 'c' AND reason <> ''")
    refused.clear()
    books.add(event("a", 3))
    forwarded(books, endpoint)
    assert [one for one in endpoint.delivered if one[0] == "a"] == ["a@1", "a@2", "a@3"]
    assert [one for one in endpoint.delivered if one[0] == "c"] == ["c@2"]
    skipped = books.connection.execute("SELECT event_id, reason, who, why FROM forwards_skipped").fetchall()
    assert skipped == [("here/thing-c@1", "the endpoint answers 400", "me", "why")]
    assert books.left() == 0


def test_a_verdict_is_carried_out_while_the_group_runs(books: Books) -> None:
    books.add(event("a", 1), event("a", 2))
    refused = {"a@1"}
    endpoint = Endpoint(lambda one, _: Reply(422) if one in refused else OK)

    async def work(clock: VirtualClock) -> None:
        async with forwarding(books, endpoint, clock) as forwarder:
            await all_sent(forwarder, clock)
            assert forwarder.parked == 1
            refused.clear()
            books.judge("retry")
            await asyncio.sleep(5)
            assert (forwarder.parked, endpoint.delivered) == (0, ["a@1", "a@2"])

    run(work)


def test_an_event_that_always_fails_is_parked_when_its_attempts_are_used_up(books: Books) -> None:
    books.add(event("a", 1), *(event(f"b{number}", 1) for number in range(5)))
    endpoint = Endpoint(lambda one, _: Reply(500) if one == "a@1" else OK)
    forwarded(books, endpoint)
    assert books.parked() == [("a@1", f"{ATTEMPTS_AT_MOST} attempts: the endpoint answers 500")]
    assert endpoint.attempts.count("a@1") == ATTEMPTS_AT_MOST


def test_an_event_that_alone_is_answered_like_a_wrong_url_is_parked_while_others_are_delivered(books: Books) -> None:
    books.add(event("a", 1), event("a", 2))
    endpoint = Endpoint(lambda one, _: Reply(404) if one == "a@1" else OK)

    async def work(clock: VirtualClock) -> None:
        async with forwarding(books, endpoint, clock) as forwarder:
            for number in range(200):
                books.add(event(f"b{number}", 1))
                forwarder.expect_more()
                await asyncio.sleep(10)
            await all_sent(forwarder, clock)

    run(work)
    assert books.parked() == [("a@1", f"{ATTEMPTS_AT_MOST} attempts: the endpoint answers 404")]
    assert len(endpoint.delivered) == 200


@pytest.mark.parametrize(
    "trouble",
    [
        NoReplyError("refused"),
        Reply(401),
        *(pytest.param(Reply(status), marks=pytest.mark.long) for status in (302, 403, 404, 405, 429, 502, 503, 504)),
    ],
)
def test_an_endpoint_that_takes_nothing_for_hours_is_left_alone_and_nothing_is_parked(
    books: Books, trouble: Reply | Exception
) -> None:
    """Away or misconfigured, the circuit opens: one event at a time asks whether it is well, at most once a minute."""
    books.add(*(event(f"k{number}", 1) for number in range(3)))
    well_from = 3 * HOUR_S
    endpoint = Endpoint()

    async def work(clock: VirtualClock) -> None:
        began = clock.monotonic()
        endpoint.answer = lambda _, __: trouble if clock.monotonic() - began < well_from else OK
        async with forwarding(books, endpoint, clock) as forwarder:
            await asyncio.sleep(HOUR_S)
            assert forwarder.breaker.is_open
            assert len(endpoint.attempts) < AT_ONCE + HOUR_S / 30
            await all_sent(forwarder, clock)
            assert not forwarder.breaker.is_open

    run(work)
    assert books.parked() == []
    assert sorted(endpoint.delivered) == ["k0@1", "k1@1", "k2@1"]


def test_the_endpoint_says_when_it_wants_to_be_asked_again(books: Books) -> None:
    books.add(event("a", 1))
    at: list[float] = []

    async def work(clock: VirtualClock) -> None:
        def answer(_: str, attempt: int) -> Reply:
            at.append(clock.monotonic())
            return OK if attempt > 1 else Reply(429, retry_after_s=120)

        async with forwarding(books, Endpoint(answer), clock) as forwarder:
            await all_sent(forwarder, clock)

    run(work)
    assert 120 <= at[1] - at[0] < 122


def test_few_events_are_in_memory_and_few_are_sent_at_once(books: Books) -> None:
    books.add(*(event(f"k{number % 997}", number) for number in range(4_000)))
    endpoint = Endpoint()

    async def work(clock: VirtualClock) -> None:
        at_most = 0
        async with forwarding(books, endpoint, clock) as forwarder:
            while not forwarder.is_resting:
                at_most = max(at_most, forwarder.waiting)
                await asyncio.sleep(0.05)
        assert 1_000 < at_most <= IN_MEMORY_AT_MOST

    run(work)
    assert endpoint.at_once_at_most == AT_ONCE
    assert (len(endpoint.delivered), books.left()) == (4_000, 0)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 20))])
def test_whatever_happens_every_event_comes_at_least_once_and_in_the_order_of_its_key(books: Books, seed: int) -> None:
    """Kills at any moment, refusals that an operator has tried again, an endpoint that comes and goes."""
    chance = random.Random(seed)
    rows = [event(f"k{chance.randrange(20)}", number) for number in range(600)]
    books.add(*rows[:300])
    endpoint = Endpoint(lambda _, attempt: _some(chance, attempt))

    async def work(clock: VirtualClock) -> None:
        for begin in range(300, 600, 30):
            async with forwarding(books, endpoint, clock):
                await asyncio.sleep(chance.uniform(0.01, 30))
                books.add(*rows[begin : begin + 30])
                await asyncio.sleep(chance.uniform(0.01, 3))
                books.judge("retry")
                await asyncio.sleep(chance.uniform(0.01, 5))
        endpoint.answer = lambda _, __: OK
        async with forwarding(books, endpoint, clock) as forwarder:
            while books.left():
                books.judge("retry")
                await asyncio.sleep(2)
            await all_sent(forwarder, clock)

    run(work, seed)
    for key in {row.key for row in rows}:
        mine = [row.event_id.removeprefix("here/thing-") for row in rows if row.key == key]
        first_times = list(dict.fromkeys(one for one in endpoint.delivered if one.startswith(f"{key}@")))
        assert first_times == mine
        assert _in_order(endpoint.delivered, mine)


def test_all_events_of_a_group_can_be_named_at_once() -> None:
    """Its endpoint may have refused everything."""
    of_group = [undelivered("here-out", number) for number in (1, 2)]
    assert choose([*of_group, undelivered("here-other", 3)], "here-out") == of_group


def undelivered(place: str, number: int) -> Undelivered:
    row = event(f"k{number}", 1)
    return Undelivered(
        row=number,
        context=place,
        key=row.key,
        message_id=row.event_id,
        subject=f"evt.here.ThingDone.{row.key}",
        sequence=number,
        at=datetime(2026, 11, 28, 9, tzinfo=UTC),
        headers="{}",
        body="{}",
        reason="the endpoint answers 400",
        verdict="",
        behind=0,
    )


def _some(chance: random.Random, attempt: int) -> Reply | Exception:
    drawn = chance.random()
    if drawn < 0.02:
        return Reply(400)
    if drawn < 0.1:
        return Reply(500)
    return NoReplyError("cut") if drawn < 0.15 and attempt < 5 else OK


def _in_order(delivered: Sequence[str], mine: Sequence[str]) -> bool:
    """Whether no event came first after a later one of its key: what comes again was there before."""
    seen = -1
    for one in delivered:
        if one in mine:
            at = mine.index(one)
            if at > seen + 1:
                return False
            seen = max(seen, at)
    return True
