"""Collects the evidence about one key: its events, its waiting commands, and the answer of every context.

All contexts are asked at once, and none is waited for longer than ANSWERED_WITHIN_S: silence is evidence too.
For a context that does not answer, the broker tells whether its consumers exist. How far it has read is not known: the
server counts a message as delivered when it is on its way to a process that is frozen or dead.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import anyio
from msgspec import Struct

from shared.context import Context
from shared.derived.topology import consumer_name
from shared.inspect.asking import NoAnswerError, ask
from shared.inspect.lag.groups import GroupOf, groups_of, sample_groups
from shared.inspect.patience import Patience
from shared.inspect.timeline.tree import Message, message_of, read_saga
from shared.ports.broker import Broker, BrokerError, BrokerRefusedError
from shared.readside.group import Group, ReadSide
from shared.wire.about import About, AskAbout
from shared.wire.lag import GroupLag
from shared.wire.messages import partition_of
from shared.wire.streams import COMMANDS, EVENTS

UNANSWERED_AT_MOST: Final = timedelta(seconds=3)
"""A first call that takes longer counts as trouble."""


class Silence(Struct, frozen=True, kw_only=True):
    """A context that does not answer. `runs` is true when a process of it is connected to the server, frozen or without
    the partition. `missing` are the consumers that the context reads from and that do not exist.
    """

    context: str
    runs: bool
    missing: tuple[str, ...] = ()


class GroupKnows(Struct, frozen=True, kw_only=True):
    """How far a group of a read side is: no `sequence` when it does not answer. `lacking` are events of the key."""

    context: str
    group: str
    runs: bool = True
    sequence: int | None = None
    behind: int | None = None
    lacking: tuple[str, ...] = ()


class Evidence(Struct, frozen=True, kw_only=True):
    """The facts about one key, as of `at`. `commands` wait in COMMANDS and are not decided.

    `groups` of read sides hold nothing up.
    """

    key: str
    at: datetime
    messages: tuple[Message, ...]
    commands: tuple[Message, ...]
    answers: Mapping[str, About | Silence]
    groups: tuple[GroupKnows, ...] = ()


async def collect(
    broker: Broker,
    contexts: Iterable[Context],
    key: str,
    partitions: int,
    at: datetime,
    *,
    sides: Iterable[ReadSide] = (),
    patience: Patience | None = None,
) -> Evidence:
    """Read the streams and ask all contexts; raises BrokerError when the broker itself does not answer."""
    answers: dict[str, About | Silence] = {}

    async def question(context: Context) -> None:
        answers[context.name] = await _ask(broker, context, key, partition_of(key, partitions), patience)

    sides, asked = tuple(sides), dict[GroupOf, GroupLag | NoAnswerError]()

    async def ask_groups() -> None:
        asked.update(await sample_groups(broker, groups_of(sides), patience=patience))

    found = await read_saga(broker, key)
    commands = [message_of(COMMANDS, stored) async for stored in broker.read(COMMANDS, f"cmd.*.*.*.{key}")]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_groups)
        for context in contexts:
            tasks.start_soon(question, context)
    return Evidence(
        key=key,
        at=at,
        messages=tuple(found),
        commands=tuple(commands),
        answers=answers,
        groups=tuple(_knows(side, group, asked, found) for side in sides for group in side.groups),
    )


def _knows(
    side: ReadSide, group: Group, asked: Mapping[GroupOf, GroupLag | NoAnswerError], messages: Iterable[Message]
) -> GroupKnows:
    answer = asked[GroupOf(side.name, group.name)]
    if isinstance(answer, NoAnswerError):
        return GroupKnows(context=side.name, group=group.name, runs=answer.runs)
    hears = {(source, event.__name__) for source, event in group.hears}
    lacking = [
        f"{message.context}.{message.type}"
        for message in messages
        if message.kind == "evt" and message.sequence > answer.sequence and (message.context, message.type) in hears
    ]
    return GroupKnows(
        context=side.name,
        group=group.name,
        sequence=answer.sequence,
        behind=answer.behind,
        lacking=tuple(dict.fromkeys(lacking)),
    )


async def _ask(broker: Broker, context: Context, key: str, number: int, patience: Patience | None) -> About | Silence:
    try:
        return await ask(broker, context.name, "about", AskAbout(key=key), About, partition=number, patience=patience)
    except NoAnswerError as error:
        runs = error.runs
    missing: list[str] = []
    for stream, is_read in ((EVENTS, context.policies), (COMMANDS, context.accepts)):
        if is_read:
            consumer = consumer_name(context.name, number)
            try:
                await broker.consumer_info(stream, consumer)
            except BrokerRefusedError:
                missing.append(f"{stream}/{consumer}")
            except BrokerError:
                pass  # The broker answered a moment ago; then this stays unknown.
    return Silence(context=context.name, runs=runs, missing=tuple(missing))
