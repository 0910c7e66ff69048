"""A group knows EVENTS no further than it has folded what it hears, whatever the broker has delivered by then."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import cast

import pytest

from shared.context import Request
from shared.engine.wakeup import Wakeup
from shared.groups.questions.queries import WAITING_AT_MOST, Queries
from shared.groups.read.progress import Progress
from shared.ports.broker import Broker, Stored, StreamInfo
from shared.ports.views import Known, ViewStore
from shared.readside.group import Group
from shared.readside.views import Asked, Query

NOW = datetime(2026, 11, 28, tzinfo=UTC)
HEARD, UNHEARD = "evt.here.ThingDone.0.t-1", "evt.here.ThingNoted.0.t-1"


class Events:
    """A broker with these events; `looks` counts how often it was asked."""

    def __init__(self, *subjects: str) -> None:
        self.subjects = [*subjects]
        self.looks = 0

    async def stream_info(self, _: str) -> StreamInfo:
        self.looks += 1
        return StreamInfo("", 1, len(self.subjects), len(self.subjects), {})

    async def read(self, _: str, __: str, *, first: int, up_to: int) -> AsyncIterator[Stored]:
        for sequence in range(first, up_to + 1):
            yield Stored(sequence, NOW, self.subjects[sequence - 1], {}, b"{}")


async def looking(events: Events, *folded: int) -> Sequence[tuple[int, bool]]:
    """How far the group knows EVENTS, and whether that is all: at first, and after each of these folds."""
    progress = Progress(cast("Broker", events), {("here", "ThingDone")}, Wakeup().set)
    progress.begin(Known())
    found = []
    for sequence in (0, *folded):
        progress.moved(Known(sequence=sequence))
        await progress.look_ahead()
        found.append((progress.up_to, progress.is_current))
    return found


async def test_an_event_that_is_stored_and_not_folded_is_not_known() -> None:
    assert await looking(Events(UNHEARD, HEARD, UNHEARD), 2) == [(0, False), (3, True)]


async def test_nobody_looks_while_more_events_are_known_to_wait() -> None:
    progress = Progress(cast("Broker", Events(HEARD, UNHEARD)), {("here", "ThingDone")}, Wakeup().set)
    progress.moved(Known(sequence=1), pending=1)
    await progress.look_ahead()
    assert (progress.up_to, progress.is_current) == (1, False)
    progress.begin(Known(sequence=1))
    await progress.look_ahead()
    assert (progress.up_to, progress.is_current) == (2, True)


@pytest.mark.parametrize("subjects", [(), (UNHEARD,), (UNHEARD, UNHEARD)])
async def test_events_that_the_group_does_not_hear_are_known_at_once(subjects: Sequence[str]) -> None:
    assert await looking(Events(*subjects)) == [(len(subjects), True)]


async def test_a_look_that_ends_after_the_group_has_begun_anew_tells_nothing() -> None:
    progress: Progress

    class Replaced(Events):
        async def stream_info(self, stream: str) -> StreamInfo:
            progress.begin(Known())
            return await super().stream_info(stream)

    progress = Progress(cast("Broker", Replaced(UNHEARD)), {("here", "ThingDone")}, Wakeup().set)
    await progress.look_ahead()
    assert (progress.up_to, progress.is_current) == (0, False)


async def test_queries_that_wait_leave_it_to_the_group_to_look_however_many_they_are() -> None:
    """A look for each of a thousand queries took all of the processor, and kept every other query waiting."""
    events, hurried = Events(HEARD), list[bool]()
    progress = Progress(cast("Broker", events), {("here", "ThingDone")}, lambda: hurried.append(True))
    group = Group(name="things", queries=(Query(name="Thing", request=Asked, answer=lambda *_: {}),))
    answer = Queries("there", group, cast("ViewStore", None), progress).endpoints["api.there.Thing"]
    request = Request({}, b'{"at_least": 2, "within_s": 0.2}')
    answers = await asyncio.gather(*(answer(request) for _ in range(WAITING_AT_MOST + 1)))
    refused = Counter(one.error and one.error[0] for one in answers if one)
    assert refused == {"504": WAITING_AT_MOST, "503": 1}
    assert (events.looks, progress.awaited, len(hurried)) == (0, 0, WAITING_AT_MOST)
