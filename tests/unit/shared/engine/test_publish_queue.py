"""Rows of aggregates with `linger_s` wait for each other in the publish queue, and for no longer than that."""

from datetime import UTC, datetime

from shared.engine.publish.queue import PublishQueue
from shared.ports.rows import JournalRow, NumberedRow

LINGER_S = {"receipt": 0.5}


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"the queue never waits, and was asked for {seconds} s")


def row(n: int, aggregate: str, key: str = "k-1") -> NumberedRow:
    name = f"{aggregate}-{key}"
    return NumberedRow(n, JournalRow(f"till/{name}@{n}", name, n, f"evt.till.Rung.{key}", "Rung", {}, b"{}", 0))


def queue_at(clock: HandClock) -> tuple[PublishQueue, list[float]]:
    woken: list[float] = []
    queue = PublishQueue(LINGER_S, clock, lambda: woken.append(clock.seconds))
    queue.assign(0)
    return queue, woken


def test_rows_that_linger_are_due_together_after_their_time() -> None:
    clock = HandClock()
    queue, woken = queue_at(clock)
    queue.add([row(1, "receipt")])
    clock.seconds += 0.25
    queue.add([row(2, "receipt", "k-2")])
    queue.end_linger()
    assert (queue.due, len(queue), queue.linger_left_s, woken) == (0, 2, 0.25, [100.0])
    clock.seconds += 0.25
    queue.end_linger()
    assert (queue.due, queue.linger_left_s) == (2, None)
    assert [n for n, _ in queue.take(9)] == [1, 2]


def test_later_row_of_a_key_lingers_behind_the_earlier_one() -> None:
    clock = HandClock()
    queue, _ = queue_at(clock)
    queue.add([row(1, "receipt"), row(2, "drawer"), row(3, "drawer", "k-2")])
    assert [n for n, _ in queue.take(9)] == [3]
    clock.seconds += 0.5
    queue.end_linger()
    assert [n for n, _ in queue.take(9)] == [1, 2]


def test_revoked_rows_do_not_come_back_when_their_time_is_over() -> None:
    clock = HandClock()
    queue, _ = queue_at(clock)
    queue.add([row(1, "receipt")])
    queue.revoke(0)
    clock.seconds += 0.5
    queue.end_linger()
    assert (queue.due, len(queue)) == (0, 0)
