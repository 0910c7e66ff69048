"""Events are forwarded at least once, in order per key, and a bounded number at a time; in virtual time."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from shared.adapters.virtual_time import VirtualClock
from shared.groups.forwarding.forwarder import AT_ONCE, IN_MEMORY_AT_MOST
from shared.ports.forwards import NoReplyError, Reply
from tests.unit.shared.groups.endpoints import OK, Books, Endpoint, all_sent, event, forwarded, forwarding, run


def test_events_of_one_key_keep_their_order_while_other_keys_go_on(books: Books) -> None:
    books.add(event("a", 1), event("a", 2), event("b", 1))
    endpoint = Endpoint(lambda one, attempt: Reply(503) if one == "a@1" and attempt < 3 else OK)
    forwarded(books, endpoint)
    assert endpoint.delivered == ["b@1", "a@1", "a@2"]
    assert books.left() == 0


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
