"""An endpoint that refuses an event, or is away: what is parked, what is tried again, and when; in virtual time."""

import asyncio

import pytest

from shared.adapters.virtual_time import VirtualClock
from shared.groups.forwarding.forwarder import AT_ONCE, ATTEMPTS_AT_MOST
from shared.ports.forwards import NoReplyError, Reply
from tests.unit.shared.groups.endpoints import HOUR_S, OK, Books, Endpoint, all_sent, event, forwarded, forwarding, run


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
