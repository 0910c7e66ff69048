"""Plays the sagas of a demo on a running system, and checks that each ends as it must.

A package of contexts declares its demo as `DEMO` in its `demo.py`. The exit code of `chorus demo` says whether every
saga ended as it must.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import anyio

from shared.inspect.timeline.event_watcher import EventWatcher
from shared.ports.broker import Broker, Outgoing
from shared.wire.messages import command_subject

QUIET: Final[Mapping[str, str]] = {"CHORUS_LOG_LEVEL": "warning", "CHORUS_LOG_FORMAT": "json"}
"""The workers of a demo log to a file, which is read only when a saga ends otherwise than it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One command as it was sent."""

    subject: str
    body: bytes


Away: TypeAlias = Callable[[str], AbstractAsyncContextManager[None]]
"""Stops a context while the block runs."""


class Stage:
    """A running system as its clients reach it: through commands and events."""

    def __init__(self, broker: Broker, away: Away, url: str) -> None:
        self.broker = broker
        self.away = away
        self.url = url
        self.watched = EventWatcher()
        self.sent: list[Sent] = []

    async def send(self, context: str, command: str, key: str, **body: Any) -> None:
        """Send a command as `nats pub -J` does."""
        sent = Sent(subject=command_subject(context, command, key), body=json.dumps(body).encode())
        await self.broker.publish(Outgoing(sent.subject, {}, sent.body))
        self.sent.append(sent)


Play: TypeAlias = "Callable[[Stage, Scene], Awaitable[None]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One saga: the commands of its clients, the events that must come exactly once, and those that must never come."""

    key: str
    title: str
    play: Play
    must: tuple[str, ...]
    never: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Acts that run one after the other in a system with these settings; the scenes of an act run together.

    `prepare` runs before the first act. At its end, `chorus demo` prints the first command of the first scene under
    `own_key`, for a user to send. `first_command` works on an empty system; `chorus up` prints it.
    """

    settings: Mapping[str, str]
    prepare: Callable[[Stage], Awaitable[None]]
    acts: tuple[tuple[Scene, ...], ...]
    own_key: str
    first_command: str


async def play_all(demo: Demo, stage: Stage, report: Callable[[Scene, list[str]], Awaitable[None]]) -> list[str]:
    """Play every scene to its end. Give each with its failures to `report`, in order; return all failures."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.watched.watch, stage.broker)
        await demo.prepare(stage)
        for act in demo.acts:
            ended = {scene.key: anyio.Event() for scene in act}
            for scene in act:
                tasks.start_soon(_play, stage, scene, ended[scene.key])
            for scene in act:
                await ended[scene.key].wait()
                await report(scene, _wrong(stage, scene))
        tasks.cancel_scope.cancel()
    # Checked again at the end, because a late event may be one too many.
    return [f"{scene.key}: {problem}" for act in demo.acts for scene in act for problem in _wrong(stage, scene)]


async def _play(stage: Stage, scene: Scene, ended: anyio.Event) -> None:
    with suppress(TimeoutError):  # The report names the missing events.
        await scene.play(stage, scene)
        await stage.watched.until(scene.key, *scene.must)
    await stage.watched.until_quiet(scene.key)
    ended.set()


def _wrong(stage: Stage, scene: Scene) -> list[str]:
    published = stage.watched.types(scene.key)
    missing = [f"{event} is missing" for event in scene.must if not published[event]]
    doubled = [f"{event} was published {published[event]} times" for event in scene.must if published[event] > 1]
    return [*missing, *doubled, *(f"{event} was published" for event in scene.never if published[event])]
