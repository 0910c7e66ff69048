"""Creates and updates streams and consumers as declared; destroys stored messages only when told to.

The requests are JetStream's own JSON, because nats-py does not know priority groups and would silently drop them.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from msgspec import Struct

from shared.derived.topology import ApiConfig, Declared
from shared.ports.broker import CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, BrokerRefusedError
from shared.streams.drift import (
    Change,
    StreamContent,
    consumer_change,
    creation,
    is_ours,
    orphan,
    stream_change,
    undeclared_subjects,
    with_subjects_of,
)

Request: TypeAlias = Callable[[str, bytes], Awaitable[bytes]]
"""Sends a body to a subject and returns the body of the answer. Its own errors pass through."""

ROUNDS_AT_MOST = 4
"""Another apply may run at the same time, so every round compares again."""

_OVERTAKEN = (STREAM_NOT_FOUND, CONSUMER_NOT_FOUND, 10058, 10148, 10149)
"""Not found, or exists already: another apply was faster."""


class NeverAsDeclaredError(Exception):
    """The broker accepted every change and still differs from the declaration."""


class Applied(Struct, frozen=True, kw_only=True):
    """The result of an apply. It does nothing when there are `refused` changes, which would destroy data.

    `left` are unneeded consumers.
    """

    done: tuple[Change, ...] = ()
    refused: tuple[Change, ...] = ()
    left: tuple[Change, ...] = ()


async def plan(request: Request, declared: Sequence[Declared], absent: Collection[str] = ()) -> tuple[Change, ...]:
    """The changes that an apply would make, in order; subjects of `absent` contexts stay. Raises BrokerRefusedError.

    A context that cannot be loaded is absent: what it declares is not known, and clients may go on to publish to it.
    """
    streams: list[Change] = []
    orphans: list[Change] = []
    consumers: list[Change] = []
    for stream in (one for one in declared if one.kind == "stream"):
        wanted = {one.name: one for one in declared if one.kind == "consumer" and one.stream == stream.name}
        info = await _info(request, stream.name)
        if info is None:
            streams.append(creation(stream))
            consumers.extend(creation(consumer) for consumer in wanted.values())
            continue
        kept = with_subjects_of(absent, stream, info["config"])
        stored = await _stored(request, kept, info)
        streams.extend(_some(stream_change(kept, info["config"], stored)))
        found = {name: config async for name, config in _consumers(request, stream.name)}
        orphans.extend(orphan(stream.name, name) for name in found if name not in wanted and is_ours(found[name]))
        for name, consumer in wanted.items():
            consumers.extend(_some(consumer_change(consumer, found[name]) if name in found else creation(consumer)))
    return (*streams, *orphans, *consumers)


async def apply(
    request: Request, declared: Sequence[Declared], *, allow_destructive: bool = False, absent: Collection[str] = ()
) -> Applied:
    """Make the broker as declared and verify it. Make no change at all when one would destroy stored messages.

    Raises:
        BrokerRefusedError: the server refused a change.
        NeverAsDeclaredError: the server accepted every change and still differs.
    """
    done: list[Change] = []
    for _ in range(ROUNDS_AT_MOST):
        changes = await plan(request, declared, absent)
        destructive = () if allow_destructive else tuple(change for change in changes if change.destroys)
        left = tuple(change for change in destructive if change.action == "remove")
        refused = tuple(change for change in destructive if change.action != "remove")
        wanted = [change for change in changes if change not in left]
        if refused or not wanted:
            return Applied(done=tuple(done), refused=refused, left=left)
        for change in wanted:
            if await _carry_out(request, change):
                done.append(change)
    different = ", ".join(f"{change.stream}/{change.name}" for change in wanted)
    raise NeverAsDeclaredError(
        f"after {ROUNDS_AT_MOST} rounds the server still differs: {different}; see chorus streams plan"
    )


async def _carry_out(request: Request, change: Change) -> bool:
    """Make one change; False when another apply was faster."""
    try:
        if change.action in ("replace", "remove"):
            await _ask(request, f"{change.kind.upper()}.DELETE.{_path(change)}")
        if change.action != "remove":
            await _put(request, change)
    except BrokerRefusedError as error:
        if error.code not in _OVERTAKEN:
            raise
        return False
    return True


async def _put(request: Request, change: Change) -> None:
    verb = "UPDATE" if change.action == "update" else "CREATE"
    if change.kind == "stream":
        await _ask(request, f"STREAM.{verb}.{change.name}", change.config)
    else:
        body = {"stream_name": change.stream, "action": verb.lower(), "config": change.config}
        await _ask(request, f"CONSUMER.CREATE.{_path(change)}", body)


def _path(change: Change) -> str:
    return change.name if change.kind == "stream" else f"{change.stream}.{change.name}"


def _some(change: Change | None) -> tuple[Change, ...]:
    return () if change is None else (change,)


async def _info(request: Request, stream: str, subjects: str = "") -> Mapping[str, Any] | None:
    try:
        return await _ask(request, f"STREAM.INFO.{stream}", {"subjects_filter": subjects} if subjects else {})
    except BrokerRefusedError as error:
        if error.code != STREAM_NOT_FOUND:
            raise
        return None


async def _stored(request: Request, declared: Declared, info: Mapping[str, Any]) -> StreamContent:
    state = info["state"]
    waiting: dict[str, int] = {}
    for subject in undeclared_subjects(declared, info["config"]):
        found = await _info(request, declared.name, _as_stored(subject))
        waiting[subject] = sum(found["state"].get("subjects", {}).values()) if found else 0
    now, first = datetime.fromisoformat(info["ts"]), datetime.fromisoformat(state["first_ts"])
    return StreamContent(
        messages=state["messages"],
        size=state["bytes"],
        age=now - first if state["messages"] else timedelta(0),
        waiting=waiting,
    )


def _as_stored(subject: str) -> str:
    """The filter for messages of a subject as stored: the transform of the stream has inserted the partition."""
    return f"{subject}.*" if subject.startswith(("cmd.", "evt.", "due.")) and not subject.endswith(">") else subject


async def _consumers(request: Request, stream: str) -> AsyncIterator[tuple[str, ApiConfig]]:
    offset = 0
    while True:
        page = await _ask(request, f"CONSUMER.LIST.{stream}", {"offset": offset})
        for consumer in page["consumers"] or []:
            yield consumer["name"], consumer["config"]
        offset += len(page["consumers"] or [])
        if offset >= page["total"] or not page["consumers"]:
            return


async def _ask(request: Request, subject: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = json.loads(await request(f"$JS.API.{subject}", json.dumps(body or {}).encode()))
    error = answer.get("error")
    if error is not None:
        raise BrokerRefusedError(error.get("err_code", error["code"]), f"{subject}: {error['description']}")
    return answer
