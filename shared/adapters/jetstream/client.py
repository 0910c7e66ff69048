"""nats-py's client with shorter ways for what a worker does thousands of times a second."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import NamedTuple, TypeAlias

import anyio
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.protocol import parser

from shared.adapters.jetstream.denials import Denials

_log = structlog.get_logger("chorus.client")

AWAY_AT_MOST_S = 1.0
NO_RESPONDERS = "503"

# Only these four end a word for the server; nats-py's own expressions also stop at a form feed, and end the connection.
_WORD, _GAP = rb"([^ \t\r\n]+)", rb"[ \t]+"
parser.MSG_RE = re.compile(rb"\AMSG" + _GAP + _WORD + _GAP + _WORD + _GAP + rb"(" + _WORD + _GAP + rb")?(\d+)\r\n")
parser.HMSG_RE = re.compile(
    rb"\AHMSG" + _GAP + _WORD + _GAP + _WORD + _GAP + rb"(" + _WORD + _GAP + rb")?(\d+)" + _GAP + rb"(\d+)\r\n"
)


class Heard(NamedTuple):
    """A message as it came; its headers have `Status` and `Description` when it is the server's own word."""

    subject: str
    reply: str
    headers: Mapping[str, str]
    body: bytes


Request: TypeAlias = tuple[str, Mapping[str, str] | None, bytes]
"""Subject, headers and body."""

Answer: TypeAlias = "asyncio.Future[Heard | nats.errors.Error]"


class FastClient(Client):
    """nats-py's client, which nothing that a client can store stops.

    nats-py stops reading, and never begins again, at a subject that is not UTF-8 or a header block that is none, and
    takes a message whose headers say `Status` for the server's word.

    What is `heard` is handed over where it was read, without a queue and a task in between, and what is asked side by
    side is written in one piece and has one timer: together a third of a worker's processor time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._back = anyio.Event()
        self._ears: dict[int, Callable[[Heard], None]] = {}
        self._numbers = count()
        self._answers_to = ""
        self._asked: dict[str, Answer] = {}
        self.calls: dict[int, tuple[Sequence[Request], Iterable[Answer]]] = {}
        """The requests in flight by call, with their answers in the same order."""
        self.denials = Denials()
        self.publishes: dict[str, str] = {}
        """Subjects that are published without waiting for an answer, or their patterns, by how a denial spells them."""

    async def hear(self, subject: str, on_message: Callable[[Heard], None]) -> Subscription:
        """Call `on_message` with whatever comes there."""

        async def on_early_message(message: Msg) -> None:
            on_message(Heard(message.subject, message.reply, message.headers or {}, message.data))

        subscription = await self.subscribe(subject, cb=on_early_message, pending_bytes_limit=0)
        self._ears[subscription._id] = on_message
        return subscription

    async def ask(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None, *, timeout_s: float
    ) -> Heard:
        """Ask, and wait for the answer; raises nats.errors.Error when there is none."""
        (answer,) = await self.ask_each([(subject, headers, body)], timeout_s=timeout_s)
        if isinstance(answer, nats.errors.Error):
            raise answer
        return answer

    async def ask_each(self, requests: Sequence[Request], *, timeout_s: float) -> list[Heard | nats.errors.Error]:
        """Ask side by side, and wait for every answer; where there is none, an error stands in its place."""
        await self.be_connected()
        if not self._answers_to:
            self._answers_to = self.new_inbox() + "."
            await self.hear(self._answers_to + "*", self._take_answer)
        loop = asyncio.get_running_loop()
        asked: dict[str, Answer] = {}
        frames: list[bytes] = []
        for subject, headers, body in requests:
            token = str(next(self._numbers))
            asked[token] = loop.create_future()
            try:
                frames.append(self.frame(subject, headers, body, reply=self._answers_to + token))
            except nats.errors.MaxPayloadError as error:
                asked[token].set_result(error)
        self._asked |= asked
        call = next(self._numbers)
        self.calls[call] = (requests, asked.values())
        timer = loop.call_later(timeout_s, settle, asked.values(), nats.errors.TimeoutError())
        try:
            if frames:
                await self.send_frames(frames)
            answers = [await answer for answer in asked.values()]
            if self.denials:
                self._allowed(requests, answers)
            return answers
        finally:
            timer.cancel()
            del self.calls[call]
            for token in asked:
                self._asked.pop(token, None)

    @property
    def inboxes(self) -> str:
        """The pattern of all subjects at which this connection awaits answers."""
        return self._inbox_prefix.decode() + ".>"

    def _allowed(self, requests: Sequence[Request], answers: Sequence[Heard | nats.errors.Error]) -> None:
        answered = [
            subject for (subject, *_), answer in zip(requests, answers, strict=True) if isinstance(answer, Heard)
        ]
        self.denials.over("publish", answered)
        if answered:
            self.denials.over("subscribe", [self.inboxes])

    def forget_answers(self, error: nats.errors.Error) -> None:
        """Tell all who wait that no answer reaches us here; the next request subscribes to another inbox."""
        for sid in [sid for sid, one in self._subs.items() if one.subject == f"{self._answers_to}*"]:
            self._remove_sub(sid)
        self._answers_to = ""
        settle(self._asked.values(), error)

    async def send_frames(self, frames: Sequence[bytes]) -> None:
        """Write messages that `frame` has made, in one piece: a third of the time of publishing one after the other."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        await self._send_command(b"".join(frames))
        await self._flush_pending()

    def frame(self, subject: str, headers: Mapping[str, str] | None, body: bytes, *, reply: str = "") -> bytes:
        """A message as it goes over the wire; raises MaxPayloadError, or ValueError for a line break in a header."""
        if not headers:
            if len(body) > self._max_payload:
                raise nats.errors.MaxPayloadError
            return b"".join((f"PUB {subject} {reply} {len(body)}\r\n".encode(), body, b"\r\n"))
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\n") != len(headers):
            raise ValueError(f"a header of {subject} has a line break")
        head = f"NATS/1.0\r\n{lines}\r\n".encode()
        size = len(head) + len(body)
        if size > self._max_payload:
            raise nats.errors.MaxPayloadError
        return b"".join((f"HPUB {subject} {reply} {len(head)} {size}\r\n".encode(), head, body, b"\r\n"))

    def lost(self) -> None:
        """Tell all who wait for an answer that none will come: what would bring it went with the connection."""
        if self._back.is_set():
            self._back = anyio.Event()
        settle(self._asked.values(), nats.errors.StaleConnectionError())

    def found(self) -> None:
        """Let those go on who wait for the server."""
        self._back.set()

    async def be_connected(self) -> None:
        """Wait a moment for a server that is away, rather than let a request grow old in a buffer."""
        if not self.is_connected:
            if self._back.is_set():  # It has just been lost, and `lost` was not called yet.
                self._back = anyio.Event()
            with anyio.move_on_after(AWAY_AT_MOST_S):
                await self._back.wait()
                return
            raise nats.errors.StaleConnectionError

    def _take_answer(self, heard: Heard) -> None:
        answer = self._asked.pop(heard.subject[len(self._answers_to) :], None)
        if answer is not None:
            none = heard.headers.get("Status") == NO_RESPONDERS
            settle((answer,), nats.errors.NoRespondersError() if none else heard)

    async def _attempt_reconnect(self) -> None:
        """Forget what was not sent: a dead line keeps it for minutes, and the next has to be looked at beforehand."""
        self._pending.clear()
        self._pending_data_size = 0
        if isinstance(self._transport, TcpTransport) and self._transport._io_writer is not None:
            self._transport._io_writer.transport.abort()
        await super()._attempt_reconnect()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        on_message = self._ears.get(sid)
        if on_message is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            on_message(Heard(_text(subject), _text(reply), _headers(headers) if headers else {}, data))
        except Exception:  # nats-py would read nothing more.
            _log.exception("message not taken", subject=_text(subject))

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        return (_headers(headers) or None) if headers else None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return self.msg_class(
            subject=_text(subject), reply=_text(reply), data=data, headers=headers, _client=self, _sid=sid
        )

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._ears.pop(sid, None)
        super()._remove_sub(sid, max_msgs)


def _text(token: bytes) -> str:
    return token.decode(errors="backslashreplace")


def _headers(block: bytes) -> dict[str, str]:
    first, _, lines = block.decode("utf-8", "replace").partition("\r\n")
    found = {}
    for line in lines.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.strip()
    found.pop("Status", None)
    status, _, description = first.partition(" ")[2].partition(" ")
    if status.isdecimal():  # The server's own word: it takes a status line away from what it stores.
        found |= {"Status": status, "Description": description}
    return found


def settle(asked: Iterable[Answer], answer: Heard | nats.errors.Error) -> None:
    """An error is an answer as well: of one that nobody waits for any more, asyncio would complain."""
    for waiting in asked:
        if not waiting.done():
            waiting.set_result(answer)
