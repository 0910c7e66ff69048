"""Requests over NATS: many side by side on one reply subscription, each with an answer or an error.

The answers are asyncio futures, and one timer of the event loop is the timeout of all requests of a call. This is the
publish path, whose speed is measured: an anyio event and a cancel scope for each request would cost more than it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import TypeAlias

import anyio
import nats.errors

from shared.adapters.jetstream.denials import Denials
from shared.adapters.jetstream.nats_py import PatchedClient, Received
from shared.wire.streams import SUBJECT_BYTES_AT_MOST

RECONNECT_WAIT_AT_MOST_S = 1.0
NO_RESPONDERS = "503"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Request: TypeAlias = tuple[str, Mapping[str, str] | None, bytes]
"""Subject, headers and body."""

PendingAnswer: TypeAlias = "asyncio.Future[Received | nats.errors.Error]"
"""An error is a result too: asyncio would report an exception that nobody retrieves."""


class LongSubjectError(nats.errors.MaxPayloadError):
    """The subject does not fit into a protocol line. The server would end the connection for good."""


class JetStreamClient(PatchedClient):
    """A NATS connection that sends requests side by side and knows what the server denies it."""

    def __init__(self) -> None:
        super().__init__()
        self._reconnected = anyio.Event()
        self._numbers = count()
        self._reply_prefix = ""
        self._pending_answers: dict[str, PendingAnswer] = {}
        self.calls: dict[int, tuple[Sequence[Request], Iterable[PendingAnswer]]] = {}
        """The requests in flight by call, with their answers in the same order."""
        self.denials = Denials()
        self.one_way: dict[str, str] = {}
        """Subjects, or patterns of subjects, to which we publish without a request, by their lower-case spelling."""

    async def send_request(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None, *, timeout_s: float
    ) -> Received:
        """Send one request and return its answer; raises nats.errors.Error when there is none."""
        (answer,) = await self.send_requests([(subject, headers, body)], timeout_s=timeout_s)
        if isinstance(answer, nats.errors.Error):
            raise answer
        return answer

    async def send_requests(
        self, requests: Sequence[Request], *, timeout_s: float
    ) -> list[Received | nats.errors.Error]:
        """Send requests side by side and wait for all answers; an error stands in the place of a missing one."""
        await self.wait_until_connected()
        if not self._reply_prefix:
            self._reply_prefix = self.new_inbox() + "."
            await self.listen(self._reply_prefix + "*", self._on_answer)
        loop = asyncio.get_running_loop()
        pending: dict[str, PendingAnswer] = {}
        frames: list[bytes] = []
        for subject, headers, body in requests:
            token = str(next(self._numbers))
            pending[token] = loop.create_future()
            try:
                frames.append(self.frame(subject, headers, body, reply=self._reply_prefix + token))
            except nats.errors.MaxPayloadError as error:
                pending[token].set_result(error)
        self._pending_answers |= pending
        call = next(self._numbers)
        self.calls[call] = (requests, pending.values())
        timer = loop.call_later(timeout_s, resolve, pending.values(), nats.errors.TimeoutError())
        try:
            if frames:
                await self.write(frames)
            answers = [await answer for answer in pending.values()]
            if self.denials:
                self._clear_denials(requests, answers)
            return answers
        finally:
            timer.cancel()
            del self.calls[call]
            for token in pending:
                self._pending_answers.pop(token, None)

    @property
    def inbox_pattern(self) -> str:
        """The pattern of all subjects at which this connection receives answers."""
        return self.new_inbox().rpartition(".")[0] + ".>"

    def _clear_denials(self, requests: Sequence[Request], answers: Sequence[Received | nats.errors.Error]) -> None:
        answered = [
            subject for (subject, *_), answer in zip(requests, answers, strict=True) if isinstance(answer, Received)
        ]
        self.denials.clear("publish", answered)
        if answered:
            self.denials.clear("subscribe", [self.inbox_pattern])

    def drop_reply_subscription(self, error: nats.errors.Error) -> None:
        """Fail all requests in flight: the server denied the subscription to their answers. The next call makes one."""
        self.drop_subscription(f"{self._reply_prefix}*")
        self._reply_prefix = ""
        resolve(self._pending_answers.values(), error)

    def frame(
        self,
        subject: str,
        headers: Mapping[str, str] | None,
        body: bytes,
        *,
        more: Mapping[str, str] = NO_HEADERS,
        reply: str = "",
    ) -> bytes:
        """A message as a protocol frame, with its headers and `more`, which must not repeat a name.

        Raises MaxPayloadError, or ValueError for a line break in a header.
        """
        if len(subject) > SUBJECT_BYTES_AT_MOST:
            raise LongSubjectError
        if not headers and not more:
            if len(body) > self.max_payload:
                raise nats.errors.MaxPayloadError
            return b"".join((f"PUB {subject} {reply} {len(body)}\r\n".encode(), body, b"\r\n"))
        both = (headers or NO_HEADERS, more)
        lines = "".join([f"{name}: {value}\r\n" for part in both for name, value in part.items()])
        if lines.count("\n") != len(both[0]) + len(more):
            raise ValueError(f"a header of {subject} has a line break")
        head = f"NATS/1.0\r\n{lines}\r\n".encode()
        size = len(head) + len(body)
        if size > self.max_payload:
            raise nats.errors.MaxPayloadError
        return b"".join((f"HPUB {subject} {reply} {len(head)} {size}\r\n".encode(), head, body, b"\r\n"))

    def on_disconnected(self) -> None:
        """Fail all requests in flight: their answers are lost with the connection."""
        if self._reconnected.is_set():
            self._reconnected = anyio.Event()
        resolve(self._pending_answers.values(), nats.errors.StaleConnectionError())

    def on_reconnected(self) -> None:
        """Wake up the callers of `wait_until_connected`."""
        self._reconnected.set()

    async def wait_until_connected(self) -> None:
        """Wait up to a second; raises StaleConnectionError, so that no request ages in a buffer."""
        if not self.is_connected:
            if self._reconnected.is_set():  # The connection was lost just now, and nats-py has not called back yet.
                self._reconnected = anyio.Event()
            with anyio.move_on_after(RECONNECT_WAIT_AT_MOST_S):
                await self._reconnected.wait()
                return
            raise nats.errors.StaleConnectionError

    def _on_answer(self, received: Received) -> None:
        answer = self._pending_answers.pop(received.subject[len(self._reply_prefix) :], None)
        if answer is not None:
            no_responders = received.headers.get("Status") == NO_RESPONDERS
            resolve((answer,), nats.errors.NoRespondersError() if no_responders else received)


def resolve(answers: Iterable[PendingAnswer], result: Received | nats.errors.Error) -> None:
    """Give this result to those answers that are still pending."""
    for answer in answers:
        if not answer.done():
            answer.set_result(result)
