"""Measures how far every context is behind, partition by partition, and how fast it works: two answers, compared.

For a partition that nobody owns, the broker says how many messages its consumers have not delivered yet. A dead process
may have received more than it decided, so the true number can be larger.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import TypeAlias

import anyio
from msgspec import Struct

from shared.context import Context
from shared.derived.topology import consumer_name, streams_of
from shared.inspect.asking import NoAnswerError, ask
from shared.inspect.lag.groups import GroupNow
from shared.inspect.patience import Patience
from shared.ports.broker import Broker, BrokerError
from shared.wire.lag import AskLag, PartitionLag, Timing

PartitionOf: TypeAlias = tuple[str, int]
"""A context and one of its partitions."""

Sample: TypeAlias = Mapping[PartitionOf, PartitionLag | NoAnswerError]
"""The answers at one moment."""


class Lag(Struct, frozen=True, kw_only=True):
    """One partition of one context. `behind` is by stream, and None where the broker does not know the consumer.

    `process` is empty where no owner answers; `runs` then says whether a process of the context is connected, frozen or
    without this partition.

    `oldest_s` is the age of the oldest message that has arrived and is not decided. `per_s`, and the quantiles in
    seconds, are those between two samples; the quantiles are of the whole process.
    """

    context: str
    partition: int
    process: str
    runs: bool = True
    behind: Mapping[str, int | None]
    oldest_s: float = 0.0
    per_s: float = 0.0
    unpublished: int = 0
    calls: int = 0
    parked: int = 0
    commit_p50_s: float | None = None
    commit_p99_s: float | None = None
    publish_p50_s: float | None = None
    publish_p99_s: float | None = None

    @property
    def messages(self) -> int:
        """The messages behind, over all streams."""
        return sum(count or 0 for count in self.behind.values())


class Report(Struct, frozen=True, kw_only=True):
    """Every partition, and by context how much busier its busiest partition is than the mean (1 is even).

    `groups` are those of the read sides.
    """

    lags: tuple[Lag, ...]
    skew: Mapping[str, float]
    groups: tuple[GroupNow, ...] = ()

    @property
    def is_owned(self) -> bool:
        """Whether each partition and each group has a process."""
        return all(lag.process for lag in self.lags) and all(group.process for group in self.groups)


class ContextLag(Struct, frozen=True, kw_only=True):
    """The partitions of one context in one line: sums, and the worst of each measure."""

    context: str
    messages: int
    oldest_s: float
    per_s: float
    commit_p99_s: float
    calls: int
    parked: int
    owned: int
    partitions: int


def by_context(report: Report) -> tuple[ContextLag, ...]:
    """A summary of each context. Calls and parked messages are counts of a whole process, so each counts once."""
    return tuple(_summary(name, [lag for lag in report.lags if lag.context == name]) for name in report.skew)


def _summary(name: str, lags: Sequence[Lag]) -> ContextLag:
    by_process = {lag.process: lag for lag in lags if lag.process}
    return ContextLag(
        context=name,
        messages=sum(lag.messages for lag in lags),
        oldest_s=max((lag.oldest_s for lag in lags), default=0.0),
        per_s=sum(lag.per_s for lag in lags),
        commit_p99_s=max((lag.commit_p99_s or 0.0 for lag in lags), default=0.0),
        calls=sum(lag.calls for lag in by_process.values()),
        parked=max((lag.parked for lag in by_process.values()), default=0),
        owned=sum(1 for lag in lags if lag.process),
        partitions=len(lags),
    )


async def sample(
    broker: Broker, contexts: Iterable[Context], partitions: int, *, patience: Patience | None = None
) -> Sample:
    """Ask the owners of all partitions at once."""
    found: dict[PartitionOf, PartitionLag | NoAnswerError] = {}

    async def question(context: str, number: int) -> None:
        try:
            question = AskLag(partition=number)
            found[context, number] = await ask(
                broker, context, "lag", question, PartitionLag, partition=number, patience=patience
            )
        except NoAnswerError as error:
            found[context, number] = error

    async with anyio.create_task_group() as tasks:
        for context in contexts:
            for number in range(partitions):
                tasks.start_soon(question, context.name, number)
    return dict(sorted(found.items()))


async def compare(broker: Broker, contexts: Sequence[Context], before: Sample, after: Sample) -> Report:
    """The lag of every partition at the later sample, with the rates since the earlier one."""
    by_name = {context.name: context for context in contexts}
    pending: dict[PartitionOf, Mapping[str, int | None]] = {}

    async def look(name: str, number: int) -> None:
        pending[name, number] = await _pending(broker, by_name[name], number)

    async with anyio.create_task_group() as tasks:
        for (name, number), answer in after.items():
            if isinstance(answer, NoAnswerError):
                tasks.start_soon(look, name, number)
    lags = [
        Lag(context=name, partition=number, process="", runs=answer.runs, behind=pending[name, number])
        if isinstance(answer, NoAnswerError)
        else _lag(before.get((name, number)), answer)
        for (name, number), answer in after.items()
    ]
    return Report(lags=tuple(lags), skew={name: _skew(lag for lag in lags if lag.context == name) for name in by_name})


def _lag(before: PartitionLag | NoAnswerError | None, now: PartitionLag) -> Lag:
    at = datetime.fromisoformat(now.at)
    waiting = [stream.oldest_at for stream in now.streams if stream.oldest_at]
    commit, publish, per_s = now.commit, now.publish, 0.0
    if isinstance(before, PartitionLag) and before.process == now.process:
        took_s = (at - datetime.fromisoformat(before.at)).total_seconds()
        per_s = max(0, now.taken - before.taken) / took_s if took_s > 0 else 0.0
        commit, publish = now.commit.since(before.commit), now.publish.since(before.publish)
    return Lag(
        context=now.context,
        partition=now.partition,
        process=now.process,
        behind={stream.stream: stream.behind for stream in now.streams},
        oldest_s=(at - datetime.fromisoformat(min(waiting))).total_seconds() if waiting else 0.0,
        per_s=per_s,
        unpublished=now.unpublished,
        calls=now.calls,
        parked=now.parked,
        commit_p50_s=_quantile(commit, now.commit, 0.5),
        commit_p99_s=_quantile(commit, now.commit, 0.99),
        publish_p50_s=_quantile(publish, now.publish, 0.5),
        publish_p99_s=_quantile(publish, now.publish, 0.99),
    )


def _quantile(recent: Timing, ever: Timing, part: float) -> float | None:
    """A quantile between the samples, or over the life of the process when nothing happened between them."""
    return (recent if recent.count else ever).quantile_s(part)


async def _pending(broker: Broker, context: Context, number: int) -> dict[str, int | None]:
    pending: dict[str, int | None] = {}
    for stream in streams_of(context):
        try:
            info = await broker.consumer_info(stream, consumer_name(context.name, number))
            pending[stream] = info.pending + info.unacknowledged
        except BrokerError:
            pending[stream] = None
    return pending


def _skew(lags: Iterable[Lag]) -> float:
    rates = [lag.per_s for lag in lags]
    mean = fmean(rates) if rates else 0.0
    return max(rates) / mean if mean > 0 else 1.0
