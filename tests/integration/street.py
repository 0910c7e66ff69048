"""A small system of two contexts, a street and a town, and a raw connection to its server."""

import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import nats
from msgspec import Struct
from msgspec.structs import replace
from nats.aio.client import Client

from shared.context import Aggregate, Context, Decider, Policy, Timer
from shared.derived.topology import Declared, declare
from shared.streams.apply import Applied, apply, plan
from shared.streams.drift import describe
from shared.streams.file import read_topology
from shared.wire.messages import FROM_SUBJECT
from tests.idle import decide, evolve, whenever_do_nothing

TOPOLOGY = read_topology(Path(__file__).parents[2] / "streams.yaml")
WAIT_S = 5.0


class OpenKiosk(Struct, frozen=True, kw_only=True):
    kiosk_id: Annotated[str, FROM_SUBJECT] = ""


class CloseKiosk(Struct, frozen=True, kw_only=True):
    kiosk_id: Annotated[str, FROM_SUBJECT] = ""


class KioskOpened(Struct, frozen=True, kw_only=True):
    kiosk_id: str


class KioskClosed(Struct, frozen=True, kw_only=True):
    kiosk_id: str


class Kiosk(Struct, frozen=True, kw_only=True):
    is_open: bool = False


STREET = Context(
    name="street",
    deciders=(
        Decider(
            aggregate=Aggregate(
                name="kiosk", key="kiosk_id", state=Kiosk, events=(KioskOpened, KioskClosed), evolve=evolve
            ),
            commands=(OpenKiosk, CloseKiosk),
            decide=decide,
        ),
    ),
    accepts=(OpenKiosk, CloseKiosk),
    timers=(Timer(name="Closing", armed_by=KioskOpened, at=lambda _: None, whenever_due=whenever_do_nothing),),
)
TOWN = Context(
    name="town",
    deciders=(),
    policies=(
        Policy("street", KioskOpened, whenever_do_nothing),
        Policy("street", KioskOpened, whenever_do_nothing),
        Policy("street", KioskClosed, whenever_do_nothing),
    ),
)
DECLARED = declare(TOPOLOGY, (STREET, TOWN))


class Broker:
    """A raw connection, as any client of the server has it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def request(self, subject: str, body: bytes) -> bytes:
        return bytes((await self.client.request(subject, body, timeout=WAIT_S)).data)

    async def api(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.request(f"$JS.API.{subject}", json.dumps(body or {}).encode()))
        assert "error" not in answer, answer
        return answer

    async def publish(self, subject: str) -> None:
        await self.client.jetstream().publish(subject, b"{}", timeout=WAIT_S)

    async def subjects(self, stream: str) -> dict[str, int]:
        state = (await self.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"}))["state"]
        return dict(state.get("subjects", {}))

    async def apply(self, declared: tuple[Declared, ...], *, allow_destructive: bool = False) -> Applied:
        return await apply(self.request, declared, allow_destructive=allow_destructive)

    async def plan(self, declared: tuple[Declared, ...]) -> list[str]:
        return [line for change in await plan(self.request, declared) for line in describe(change)]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Broker]:
    client = await nats.connect(url)
    try:
        yield Broker(client)
    finally:
        await client.close()


def declared_with(stream: str, **keys: Any) -> tuple[Declared, ...]:
    """The declaration with other keys for one stream."""
    streams = {**TOPOLOGY.streams, stream: {**TOPOLOGY.streams[stream], **keys}}
    return declare(replace(TOPOLOGY, streams=streams), (STREET, TOWN))


def names(outcome: Applied) -> list[str]:
    return [f"{change.action} {change.stream}/{change.name}" for change in outcome.done]


async def pulled(broker: Broker, stream: str) -> tuple[list[int], list[str]]:
    """The stream sequences that the consumer of street delivers, each with its reply subject."""
    inbox = broker.client.new_inbox()
    subscription = await broker.client.subscribe(inbox)
    consumer = f"{stream}.street-0"
    await broker.api(f"CONSUMER.UNPIN.{consumer}", {"group": "w"})
    wanted = {"batch": 100, "no_wait": True, "group": "w"}
    await broker.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{consumer}", json.dumps(wanted).encode(), reply=inbox)
    replies = []
    while (message := await subscription.next_msg(timeout=WAIT_S)).reply:
        replies.append(message.reply)
    await subscription.unsubscribe()
    return [int(reply.split(".")[5]) for reply in replies], replies


def context_with(context: Context, **changes: Any) -> Context:
    return dataclasses.replace(context, **changes)
