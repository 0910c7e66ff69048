"""Reads everything a stream holds and everything new, so that a test waits for a message and never for time."""

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from shared.wire.messages import CAUSATION_ID, MSG_ID
from tests.waiting import WITHIN_S

RECONNECT_WAIT_S = 0.1


class Fact(Struct, frozen=True, kw_only=True):
    """One message of the stream; in EVENTS, an event."""

    sequence: int
    context: str
    type: str
    key: str
    id: str
    cause: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


class Watcher:
    """The facts so far, in stream order; it continues after the server was away."""

    def __init__(self, client: Client, stream: str) -> None:
        self.facts: list[Fact] = []
        self._by_key: defaultdict[str, list[Fact]] = defaultdict(list)
        self._client = client
        self._stream = stream
        self._news = anyio.Event()
        self._heard: Subscription | None = None

    def about(self, key: str) -> list[Fact]:
        """Every fact under one key."""
        return [*self._by_key.get(key, ())]

    def types(self, key: str) -> Counter[str]:
        """How often each event was published under one key."""
        return Counter(fact.type for fact in self.about(key))

    async def until(self, key: str, event: str, *, times: int = 1) -> Fact:
        """Wait until an event was published `times` times under a key; the last of them."""
        await self.until_said(key, Counter({event: times}))
        return [fact for fact in self.about(key) if fact.type == event][times - 1]

    async def until_said(self, key: str, said: Counter[str]) -> None:
        """Wait until at least these events were published under a key."""
        with anyio.move_on_after(WITHIN_S):
            await self.until_true(lambda: said <= self.types(key))
            return
        raise AssertionError(f"{key} lacks {dict(said - self.types(key))} after {WITHIN_S:g} s: {self.told(key)}")

    async def until_any(self, key: str, *events: str) -> None:
        """Wait until one of these events was published under a key."""
        with anyio.fail_after(WITHIN_S):
            await self.until_true(lambda: not self.types(key).keys().isdisjoint(events))

    async def until_true(self, condition: Callable[[], bool]) -> None:
        """Wait for messages until a condition holds, without a deadline."""
        while not condition():
            await self._news.wait()

    def told(self, key: str) -> list[str]:
        """The facts under one key as `context.Event`, in stream order."""
        return [f"{fact.context}.{fact.type}" for fact in self.about(key)]

    async def release(self) -> None:
        """Forget everything, and read a stream that was created again."""
        self.facts.clear()
        self._by_key.clear()
        await self.hear()

    async def hear(self) -> None:
        """Read on after the last fact, with a consumer that ends with the connection."""
        inbox = self._client.new_inbox()
        if self._heard is not None:  # It may begin later than this one, and be faster.
            await self._heard.unsubscribe()
        self._heard = await self._client.subscribe(inbox, cb=self._on_message, pending_bytes_limit=0)
        await self._client.jetstream().add_consumer(
            self._stream,
            ConsumerConfig(
                name=f"watching-{uuid.uuid4().hex}",  # A tester may make no consumer without a name.
                deliver_subject=inbox,
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self.facts[-1].sequence + 1 if self.facts else 1,
                mem_storage=True,
            ),
        )

    async def _on_message(self, message: Msg) -> None:
        sequence = int(message.reply.split(".")[-4])
        if self.facts and sequence <= self.facts[-1].sequence:
            return
        _, context, kind, *_, key = message.subject.split(".")
        headers = message.headers or {}
        fact = Fact(
            sequence=sequence,
            context=context,
            type=kind,
            key=key,
            id=headers.get(MSG_ID, ""),
            cause=headers.get(CAUSATION_ID, ""),
            headers=headers,
            body=message.data,
        )
        self.facts.append(fact)
        self._by_key[key].append(fact)
        self._news.set()
        self._news = anyio.Event()


@asynccontextmanager
async def watching(url: str, stream: str = "EVENTS", **login: Any) -> AsyncIterator[Watcher]:
    """A watcher of an existing stream, on a connection of its own; `login` is that of nats-py."""
    client = Client()
    watcher = Watcher(client, stream)

    async def expected(error: Exception) -> None:
        """Some tests take the server away."""

    await client.connect(
        url,
        reconnected_cb=watcher.hear,
        error_cb=expected,
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # Annotated int, used as seconds of any kind.
        **login,
    )
    try:
        await watcher.hear()
        yield watcher
    finally:
        await client.close()
