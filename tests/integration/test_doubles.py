"""A message that comes again under its id has no second effect, also after the server has forgotten the id."""

import json
from functools import partial

from shared.repair.rebuild import rebuild
from shared.wire.messages import content_hash
from tests.integration.engine import PARTITIONS, Counter, running, stored_again, until_idle
from tests.integration.keys import NEIGHBOUR, TILL
from tests.integration.till import till


class TestDoubles:
    """The same id again."""

    async def test_command_that_comes_twice_within_the_window_is_stored_once(self, counter: Counter) -> None:
        first = await counter.ring(TILL, 5, "m-1")
        second = await counter.ring(TILL, 5, "m-1")
        other = await counter.ring(TILL, 6, "m-1")
        assert [one.duplicate for one in (first, second, other)] == [False, True, True]
        async with running(counter):
            await counter.ring(TILL, 1, "m-2")
            await counter.watcher.until(TILL, "Rung", times=2)
        assert counter.totals(TILL) == [5, 6]

    async def test_request_that_comes_twice_is_told_so(self, counter: Counter) -> None:
        body = b'{"till_id": "t-1", "amount": 5}'
        async with running(counter):
            await counter.ring(NEIGHBOUR, 1)
            await counter.watcher.until(NEIGHBOUR, "Rung")
            answers = [
                json.loads((await counter.broker.request("api.till.Ring", body, {"Nats-Msg-Id": "m-1"}, 5.0))[1])
                for _ in range(2)
            ]
            await counter.watcher.until(TILL, "Rung")
        assert [answer["duplicate"] for answer in answers] == [False, True]
        assert counter.totals(TILL) == [5]

    async def test_doubles_after_the_window_have_no_effect_over_a_restart_and_a_rebuild(
        self, forgetful_counter: Counter
    ) -> None:
        counter = forgetful_counter
        async with running(counter):
            await counter.ring(TILL, 5, "m-1")
            await counter.scan(TILL, 2, "scanner/scan-t-1@1")
            await counter.watcher.until(TILL, "Rung", times=2)
        for database_is_lost in (False, True):
            if database_is_lost:
                await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
            await stored_again(partial(counter.ring, TILL, 5, "m-1"))
            await stored_again(partial(counter.scan, TILL, 2, "scanner/scan-t-1@1"))
            await stored_again(partial(counter.ring, TILL, 6, "m-1"))
            heard = counter.watcher.types(NEIGHBOUR)["Rung"]
            async with running(counter):
                await counter.scan(NEIGHBOUR, 1, f"scanner/scan-{NEIGHBOUR}@{heard + 2}")
                await counter.watcher.until(NEIGHBOUR, "Rung", times=heard + 1)
                await until_idle(counter)
        assert sorted(counter.totals(TILL)) in ([2, 7], [5, 7])
        assert counter.watcher.types(TILL)["CommandRejected"] == 1

    async def test_conflict_can_neither_be_told_beforehand_nor_stop_the_worker(
        self, forgetful_counter: Counter
    ) -> None:
        """Ids are public, so a client could guess the id under which the inbox remembers a conflict."""
        counter = forgetful_counter
        async with running(counter):
            await counter.ring(TILL, 5, "m-1")
            await counter.watcher.until(TILL, "Rung")
        marker = content_hash(b'{"amount": 6}').hex()
        await stored_again(partial(counter.ring, TILL, 6, "m-1"))
        await counter.ring(TILL, 7, f"m-1~{marker}")
        await counter.ring(TILL, 8, f"m-1 {marker}")
        async with running(counter):
            await counter.watcher.until(TILL, "CommandRejected", times=2)
        reasons = [fact.content["reason"] for fact in counter.watcher.about(TILL) if fact.type == "CommandRejected"]
        assert reasons == ["message_id_reused", "malformed"]
        assert counter.totals(TILL) == [5, 12]

    async def test_command_cannot_take_the_place_of_an_event_to_come(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring(TILL, 5, "scanner/scan-t-1@1")
            rejected = await counter.watcher.until(TILL, "CommandRejected")
            await counter.scan(TILL, 2, "scanner/scan-t-1@1")
            await counter.watcher.until(TILL, "Rung")
        assert rejected.content["details"][0]["path"] == "Nats-Msg-Id"
        assert counter.totals(TILL) == [2]
