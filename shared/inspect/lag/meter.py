"""Measures the lag of a system again and again: the partitions of its contexts, and the groups of its read sides."""

from collections.abc import Iterable, Sequence
from typing import Final

import anyio
from msgspec.structs import replace

from shared.context import Context
from shared.inspect.lag.groups import GroupSample, compare_groups, groups_of, sample_groups
from shared.inspect.lag.partitions import Report, Sample, compare, sample
from shared.inspect.patience import Patience
from shared.ports.broker import Broker
from shared.readside.group import ReadSide

NOTHING: Final[tuple[Sample, GroupSample]] = ({}, {})


class LagMeter:
    """Rates are those since the measurement before. The first report has none."""

    def __init__(
        self, contexts: Sequence[Context], sides: Iterable[ReadSide], partitions: int, patience: Patience | None = None
    ) -> None:
        self._contexts = contexts
        self._groups = groups_of(sides)
        self._partitions = partitions
        self._patience = patience or Patience()
        self._before = NOTHING

    async def measure(self, broker: Broker) -> Report:
        """Ask the owners of all partitions, and all groups."""
        samples: list[Sample] = []
        of_groups: list[GroupSample] = []

        async def look() -> None:
            samples.append(await sample(broker, self._contexts, self._partitions, patience=self._patience))

        async def look_at_groups() -> None:
            of_groups.append(await sample_groups(broker, self._groups, patience=self._patience))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            tasks.start_soon(look_at_groups)
        now = samples[0], of_groups[0]
        before, self._before = self._before, now
        report = await compare(broker, self._contexts, before[0], now[0])
        return replace(report, groups=await compare_groups(broker, before[1], now[1]))
