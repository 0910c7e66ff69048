from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from shared.inspect.timeline.standings import standings
from shared.inspect.timeline.tree import Message
from shared.saga import End, Saga

NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)
LOAN = Saga(
    name="loan",
    key="loan_id",
    first=("here.Lent",),
    ends=(End(name="returned", events=("here.Returned", "there.Cleaned")), End(name="lost", events=("here.Lost",))),
    slow_after=timedelta(days=1),
)


def said(*events: str) -> Iterator[Message]:
    """One event each second."""
    for number, event in enumerate(events):
        context, _, name = event.partition(".")
        yield Message(
            id=f"{context}/{number}",
            caused_by="",
            kind="evt",
            context=context,
            type=name,
            key="k-1",
            at=NINE + timedelta(seconds=number),
            stream="EVENTS",
            sequence=number + 1,
        )


def test_a_saga_ends_when_all_events_of_an_end_were_said() -> None:
    later = NINE + timedelta(hours=1)
    assert standings([LOAN], [*said("here.Lent", "there.Cleaned", "here.Returned", "here.Returned")], later) == [
        "loan: returned after 2.00 s"
    ]
    assert standings([LOAN], [*said("here.Lent", "here.Lost")], later) == ["loan: lost after 1.00 s"]


def test_a_saga_that_goes_on_is_slow_after_its_time() -> None:
    messages = [*said("here.Lent", "here.Returned")]
    assert standings([LOAN], messages, NINE + timedelta(seconds=9)) == ["loan: goes on for 9.00 s"]
    assert standings([LOAN], messages, NINE + timedelta(days=2)) == [
        "loan: goes on for 2 days, 0:00:00, which is slow: it should end within 1d"
    ]


def test_a_saga_that_has_not_begun_is_not_told() -> None:
    assert standings([LOAN], [*said("there.Cleaned")], NINE) == []
