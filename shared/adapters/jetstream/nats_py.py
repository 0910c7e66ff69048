"""Every workaround for nats-py 2.16, and every private name of nats-py that Chorus uses. No other module has one.

tests/integration/test_nats_py.py shows each defect on the unpatched client and its absence on `PatchedClient`. It fails
when nats-py repairs a defect or changes a private name; then delete or adapt the item with that number.

1. The parser ends a subject at a form feed, a vertical tab or another byte that only Python calls white space. The rest
   of the line is a protocol error, and the connection is lost at every delivery of that message. See `parser.MSG_RE`.
2. A subject, a reply or a status that is not UTF-8 ends the read loop: the client stays "connected" and hears nothing
   more. See `_build_message`, `_process_headers`.
3. A stored header named `Status` reads as a status of the server. See `_process_headers`.
4. A reconnect first waits until the old connection has sent everything, which a dead line never does. Then it sends the
   unsent messages, of any age, on the new connection. See `_attempt_reconnect`.
5. `connect` retries for ever while it may reconnect. See `ConnectAbortedError`.
6. A permission error reaches the error callback in lower case, and the denied request gets no answer. See `denied_in`.
7. Each message costs a queue, a task switch and a flush of its own. `listen` calls back where the message was read, and
   `write` sends many messages in one piece: together a third of a worker's processor time.
8. Nothing public lists subscriptions, drops one without asking the server, or repeats one that the server denied. See
   `subscriptions`, `drop_subscription`, `resubscribe`.
9. A lost connection raises what the event loop's transport raises; with uvloop a RuntimeError. See `CONNECTION_ERRORS`.
10. `asyncio.wait_for` of Python 3.11 does not cancel when the connection is refused in the same moment. A client that
    was closed then goes on to reconnect for ever. See `_connect_to_server`.
11. A service request has no public reply subject. See `reply_of`.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import nats.errors
import structlog
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.micro.request import Request
from nats.protocol import parser

from shared.wire.streams import RELAYED

Action: TypeAlias = Literal["publish", "subscribe"]

CONNECTION_ERRORS = (nats.errors.Error, OSError, RuntimeError)
"""All that a call may raise when the connection is gone (9)."""

_log = structlog.get_logger("chorus.client")

# For the server, only these four bytes end a word (1).
_WORD, _GAP = rb"([^ \t\r\n]+)", rb"[ \t]+"
parser.MSG_RE = re.compile(rb"\AMSG" + _GAP + _WORD + _GAP + _WORD + _GAP + rb"(" + _WORD + _GAP + rb")?(\d+)\r\n")
parser.HMSG_RE = re.compile(
    rb"\AHMSG" + _GAP + _WORD + _GAP + _WORD + _GAP + rb"(" + _WORD + _GAP + rb")?(\d+)" + _GAP + rb"(\d+)\r\n"
)

_ANSWERED = b"Nats-Stream: "
"""The server adds this header to the answer to a direct get, and stores the answer where a reply subject is a stream's.

It is counted in the bytes: the server adds it without a line break to a header block that a client sent without one.
"""

_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')


class ConnectAbortedError(Exception):
    """Ends `connect` when the error callback raises it (5)."""


class Received(NamedTuple):
    """A message as it arrived. The headers `Status` and `Description` exist only when the server itself speaks (3)."""

    subject: str
    reply: str
    headers: Mapping[str, str]
    body: bytes


class PatchedClient(Client):
    """nats-py's client without the defects above; no message that a client can store stops it."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[int, Callable[[Received], None]] = {}

    async def listen(self, subject: str, on_message: Callable[[Received], None]) -> Subscription:
        """Call `on_message` with each message to this subject, within the read loop (7)."""

        async def on_early_message(message: Msg) -> None:
            on_message(Received(message.subject, message.reply, message.headers or {}, message.data))

        subscription = await self.subscribe(subject, cb=on_early_message, pending_bytes_limit=0)
        self._listeners[subscription._id] = on_message
        return subscription

    async def write(self, frames: Sequence[bytes]) -> None:
        """Write complete protocol frames in one piece (7)."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        await self._send_command(b"".join(frames))
        await self._flush_pending()

    @property
    def subscriptions(self) -> Mapping[int, Subscription]:
        """All subscriptions by their id (8)."""
        return self._subs

    async def resubscribe(self, subscription: Subscription) -> None:
        """Send a denied subscription again (8)."""
        await self._send_subscribe(subscription)

    def drop_subscription(self, subject: str) -> None:
        """Forget subscriptions to this subject without a word to the server, which has denied them (8)."""
        for sid in [sid for sid, subscription in self._subs.items() if subscription.subject == subject]:
            self._remove_sub(sid)

    async def _attempt_reconnect(self) -> None:
        self._pending.clear()
        self._pending_data_size = 0
        if isinstance(self._transport, TcpTransport) and self._transport._io_writer is not None:
            self._transport._io_writer.transport.abort()
        await super()._attempt_reconnect()

    async def _connect_to_server(self, s: Srv) -> None:
        task = asyncio.current_task()
        if task is not None and task is self._reconnection_task and task.cancelling():
            raise asyncio.CancelledError
        await super()._connect_to_server(s)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        on_message = self._listeners.get(sid)
        if on_message is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            found = _headers(headers, 0 if reply.startswith(b"$JS.ACK.") else 1) if headers else {}
            on_message(Received(_text(subject), _text(reply), found, data))
        except Exception:  # It would end the read loop.
            _log.exception("message lost: its listener failed", subject=_text(subject))

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        return (_headers(headers) or None) if headers else None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return self.msg_class(
            subject=_text(subject), reply=_text(reply), data=data, headers=headers, _client=self, _sid=sid
        )

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._listeners.pop(sid, None)
        super()._remove_sub(sid, max_msgs)


def reply_of(request: Request) -> str:
    """The subject to which the answer of a service goes; empty when there is none (11)."""
    return request._msg.reply


def denied_in(error: Exception) -> tuple[Action, str] | None:
    """The action and the lower-case subject that a permission error denies; None for any other error (6)."""
    found = _VIOLATION.search(str(error))
    if found is None:
        return None
    return ("publish" if found[1] == "publish" else "subscribe"), found[2]


def _text(token: bytes) -> str:
    return token.decode(errors="backslashreplace")


def _headers(block: bytes, answers: int = 1) -> dict[str, str]:
    """The headers of a block; the server strips the status line of a message that it stores, but no header (3).

    RELAYED is among them when the message was an answer more often than the server answers with it now.
    """
    first, _, lines = block.decode("utf-8", "replace").partition("\r\n")
    found = {}
    for line in lines.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.strip()
    found.pop("Status", None)
    if block.count(_ANSWERED) > answers:
        found[RELAYED] = "true"
    status, _, description = first.partition(" ")[2].partition(" ")
    if status.isdecimal():
        found |= {"Status": status, "Description": description}
    return found
