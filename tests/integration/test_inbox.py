"""A message has one effect, however often it arrives; other content under a known id is refused."""

from functools import partial

from tests.integration.engine import Counter, rejection, running, stored_again
from tests.integration.keys import TILL


class TestInbox:
    """The same message again, as it was or altered."""

    async def test_command_that_comes_twice_has_one_effect(self, forgetful_counter: Counter) -> None:
        counter = forgetful_counter
        async with running(counter) as loop:
            await counter.ring(TILL, 5, "m-1")
            await counter.watcher.until(TILL, "Rung")
            await stored_again(partial(counter.ring, TILL, 5, "m-1"))
            await counter.ring(TILL, 2, "m-2")
            await counter.watcher.until(TILL, "Rung", times=2)
            assert counter.totals(TILL) == [5, 7]
            assert loop.counters.duplicates == 1

    async def test_event_that_comes_twice_has_one_effect(self, forgetful_counter: Counter) -> None:
        """F18: after the dedup window (R8)."""
        counter = forgetful_counter
        async with running(counter):
            await counter.scan(TILL, 5, "scanner/scan-t-1@1")
            await counter.watcher.until(TILL, "Rung")
            await stored_again(partial(counter.scan, TILL, 5, "scanner/scan-t-1@1"))
            await counter.scan(TILL, 2, "scanner/scan-t-1@2")
            await counter.watcher.until(TILL, "Rung", times=2)
        assert counter.totals(TILL) == [5, 7]

    async def test_command_with_other_content_under_a_known_id_is_refused_each_content_once(
        self, forgetful_counter: Counter
    ) -> None:
        counter = forgetful_counter
        async with running(counter):
            await counter.ring(TILL, 5, "m-1")
            await counter.watcher.until(TILL, "Rung")
            for amount in (6, 6, 7):
                await stored_again(partial(counter.ring, TILL, amount, "m-1"))
            await counter.watcher.until(TILL, "CommandRejected", times=2)
            await counter.ring(TILL, 1, "m-2")
            await counter.watcher.until(TILL, "Rung", times=2)
        said = [fact for fact in counter.watcher.about(TILL) if fact.type == "CommandRejected"]
        assert [rejection(fact) for fact in said] == [("message_id_reused", ["Nats-Msg-Id"])] * 2
        assert [fact.content["command_id"] for fact in said] == ["m-1", "m-1"]
        assert counter.totals(TILL) == [5, 6]

    async def test_event_with_other_content_under_a_known_id_is_set_aside(self, forgetful_counter: Counter) -> None:
        counter = forgetful_counter
        async with running(counter):
            await counter.scan(TILL, 5, "scanner/scan-t-1@1")
            await counter.watcher.until(TILL, "Rung")
            await stored_again(partial(counter.scan, TILL, 6, "scanner/scan-t-1@1"))
            await counter.scan(TILL, 2, "scanner/scan-t-1@2")
            await counter.watcher.until(TILL, "Rung", times=2)
        assert counter.totals(TILL) == [5, 7]
        letter = await counter.letters.until(TILL, "GoodsScanned")
        assert letter.content["reason"].startswith("scanner/scan-t-1@1 was decided before with other content")

    async def test_command_without_an_id_takes_effect_each_time_it_is_sent(self, counter: Counter) -> None:
        async with running(counter):
            sent = [await counter.ring(TILL, 5), await counter.ring(TILL, 5)]
            await counter.watcher.until(TILL, "Rung", times=2)
        places = [fact.cause.partition("@")[::2] for fact in counter.watcher.about(TILL)]
        assert [(stream, int(place.partition("/")[2])) for stream, place in places] == [
            (published.stream, published.sequence) for published in sent
        ]
        assert counter.totals(TILL) == [5, 10]

    async def test_command_whose_acknowledgement_was_lost_has_one_effect(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring(TILL, 5)
            await counter.watcher.until(TILL, "Rung")
        counter.change("UPDATE positions SET seq = 0, message_id = ''")
        async with running(counter):
            await counter.scan(TILL, 2, "scanner/scan-t-1@1")
            await counter.watcher.until(TILL, "Rung", times=2)
        assert counter.totals(TILL) == [5, 7]
