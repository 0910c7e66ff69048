"""Measures how far the groups of the read sides are behind. No saga waits for a group, so a group holds nothing up."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple, TypeAlias

import anyio
from msgspec import Struct

from shared.inspect.asking import NoAnswerError, ask
from shared.inspect.patience import Patience
from shared.ports.broker import Broker, BrokerError
from shared.readside.group import ReadSide, place_of
from shared.wire.lag import AskGroupLag, Forwarding, GroupLag, group_lag_of
from shared.wire.streams import EVENTS


class GroupOf(NamedTuple):
    """A group of a read side."""

    context: str
    group: str

    @property
    def place(self) -> str:
        """The name of its consumer."""
        return place_of(*self)


GroupSample: TypeAlias = Mapping[GroupOf, GroupLag | NoAnswerError]
"""The answers at one moment."""


class GroupNow(Struct, frozen=True, kw_only=True):
    """One group. `behind` is None where the broker does not know its consumer.

    `process` is empty where none answers. Then `runs` says whether one is connected, and `behind` the broker's count.
    `sequence` is how far the tables are known to have everything, and `oldest_s` the age of the oldest event that has
    arrived and is not folded. `per_s` are the events folded between two samples.
    """

    context: str
    group: str
    process: str = ""
    runs: bool = True
    behind: int | None
    sequence: int | None = None
    oldest_s: float = 0.0
    per_s: float = 0.0
    set_aside: int = 0
    forwarding: Forwarding | None = None

    @property
    def troubles(self) -> tuple[str, ...]:
        """A sentence for each reason that keeps the events that it forwards."""
        name = place_of(self.context, self.group)
        if self.forwarding is None:
            return ()
        parked = (
            f"{name}: {self.forwarding.parked} events cannot be delivered and wait for an operator: chorus parked ls"
        )
        alone = f"{name}: its endpoint fails and is left alone for a while; {self.forwarding.waiting} events wait"
        return (*([parked] if self.forwarding.parked else []), *([alone] if self.forwarding.is_left_alone else []))


def groups_of(sides: Iterable[ReadSide]) -> list[GroupOf]:
    """All groups of these read sides."""
    return [GroupOf(side.name, group.name) for side in sides for group in side.groups]


async def sample_groups(
    broker: Broker, groups: Iterable[GroupOf], *, patience: Patience | None = None
) -> dict[GroupOf, GroupLag | NoAnswerError]:
    """Ask all groups at once."""
    found: dict[GroupOf, GroupLag | NoAnswerError] = {}

    async def question(of: GroupOf) -> None:
        try:
            name = group_lag_of(of.group)
            found[of] = await ask(
                broker, of.context, name, AskGroupLag(), GroupLag, service=of.place, patience=patience
            )
        except NoAnswerError as error:
            found[of] = error

    async with anyio.create_task_group() as tasks:
        for of in groups:
            tasks.start_soon(question, of)
    return dict(sorted(found.items()))


async def compare_groups(broker: Broker, before: GroupSample, after: GroupSample) -> tuple[GroupNow, ...]:
    """Every group at the later sample, with the rate since the earlier one."""
    return tuple([await _now(broker, of, before.get(of), answer) for of, answer in after.items()])


async def _now(
    broker: Broker, of: GroupOf, before: GroupLag | NoAnswerError | None, now: GroupLag | NoAnswerError
) -> GroupNow:
    if isinstance(now, NoAnswerError):
        return GroupNow(context=of.context, group=of.group, runs=now.runs, behind=await _pending(broker, of))
    at, per_s = datetime.fromisoformat(now.at), 0.0
    if isinstance(before, GroupLag) and before.process == now.process:
        took_s = (at - datetime.fromisoformat(before.at)).total_seconds()
        per_s = max(0, now.folded - before.folded) / took_s if took_s > 0 else 0.0
    return GroupNow(
        context=of.context,
        group=of.group,
        process=now.process,
        behind=now.behind,
        sequence=now.sequence,
        oldest_s=(at - datetime.fromisoformat(now.oldest_at)).total_seconds() if now.oldest_at else 0.0,
        per_s=per_s,
        set_aside=now.set_aside,
        forwarding=now.forwarding,
    )


async def _pending(broker: Broker, of: GroupOf) -> int | None:
    """The events that the consumer has not delivered, or that nobody has acknowledged."""
    try:
        info = await broker.consumer_info(EVENTS, of.place)
    except BrokerError:
        return None
    return info.pending + info.unacknowledged
