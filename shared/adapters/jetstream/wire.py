"""nats-py's messages, answers and errors in the words of the port."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.protocol import parser

from shared.ports import BrokerRefusedError, BrokerUnavailableError, Delivery, Stored

TOO_LARGE = 10054
"""The JetStream API's code for a message that exceeds the bound of its stream; a connection has one as well."""

AWAY_AT_MOST_S = 1.0
GONE = (nats.errors.Error, OSError, RuntimeError)
"""How it is told that a connection is not there any more; the last is uvloop's way."""

# Only these four end a word for the server; nats-py's own expressions also stop at a form feed, and end the connection.
_WORD, _GAP = rb"([^ \t\r\n]+)", rb"[ \t]+"
parser.MSG_RE = re.compile(rb"\AMSG" + _GAP + _WORD + _GAP + _WORD + _GAP + rb"(" + _WORD + _GAP + rb")?(\d+)\r\n")
parser.HMSG_RE = re.compile(
    rb"\AHMSG" + _GAP + _WORD + _GAP + _WORD + _GAP + rb"(" + _WORD + _GAP + rb")?(\d+)" + _GAP + rb"(\d+)\r\n"
)


class FastClient(Client):
    """nats-py's client, which nothing that a client can store stops, and which reads headers 3 times faster.

    nats-py stops reading, and never begins again, at a subject that is not UTF-8 or a header block that is none, and
    takes a message whose headers say `Status` for the server's word. Its headers were a seventh of a worker's time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._back = anyio.Event()

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        if not headers:
            return None
        first, _, lines = headers.decode("utf-8", "replace").partition("\r\n")
        found = {}
        for line in lines.split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                found[name.strip()] = value.strip()
        found.pop("Status", None)
        status, _, description = first.partition(" ")[2].partition(" ")
        if status.isdecimal():  # The server's own word: it takes a status line away from what it stores.
            found |= {"Status": status, "Description": description}
        return found or None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return self.msg_class(
            subject=subject.decode(errors="backslashreplace"),
            reply=reply.decode(errors="backslashreplace"),
            data=data,
            headers=headers,
            _client=self,
            _sid=sid,
        )

    def lost(self) -> None:
        """Tell all who wait for an answer that none will come: what would bring it went with the connection."""
        if self._back.is_set():
            self._back = anyio.Event()
        for answer in self._resp_map.values():
            if not answer.done():
                answer.set_exception(nats.errors.StaleConnectionError())

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

    async def send_frames(self, frames: Sequence[bytes]) -> None:
        """Write messages that `frame` has made, in one piece: a third of the time of publishing one after the other."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        await self._send_command(b"".join(frames))
        await self._flush_pending()

    def frame(self, subject: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """A message with headers as it goes over the wire; raises MaxPayloadError, ValueError for a line break."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\n") != len(headers):
            raise ValueError(f"a header of {subject} has a line break")
        head = f"NATS/1.0\r\n{lines}\r\n".encode()
        size = len(head) + len(body)
        if size > self._max_payload:
            raise nats.errors.MaxPayloadError
        return b"".join((f"HPUB {subject} {len(head)} {size}\r\n".encode(), head, body, b"\r\n"))

    async def request(self, *arguments: Any, **options: Any) -> Msg:
        """Ask, and wait for the answer."""
        await self.be_connected()
        return await super().request(*arguments, **options)


def to_delivery(message: Msg, headers: Mapping[str, str]) -> Delivery:
    tokens = message.reply.rsplit(".", 6)
    return Delivery(
        sequence=int(tokens[-4]),
        consumer_sequence=int(tokens[-3]),
        at_ns=int(tokens[-2]),
        pending=int(tokens[-1]),
        subject=message.subject,
        headers=headers,
        body=message.data,
        reply=message.reply,
    )


def to_stored(message: Msg, headers: Mapping[str, str]) -> Stored:
    return Stored(
        int(headers["Nats-Sequence"]),
        _time(headers["Nats-Time-Stamp"]),
        headers["Nats-Subject"],
        headers,
        message.data,
    )


def _time(text: str) -> datetime:
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(microsecond=int(fraction[:6].ljust(6, "0")), tzinfo=UTC)


def api_answer(data: bytes) -> dict[str, Any]:
    if not data:
        raise BrokerUnavailableError("an empty answer where a PubAck was due")
    answer: dict[str, Any] = json.loads(data)
    if (error := answer.get("error")) is not None:
        code = error.get("err_code", error.get("code", 0))
        if error.get("code") == 503 and code != 10077:
            raise BrokerUnavailableError(f"{error.get('description', 'unavailable')} ({code})")
        raise BrokerRefusedError(code, error.get("description", "refused"))
    return answer


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except nats.errors.MaxPayloadError as error:
        raise BrokerRefusedError(TOO_LARGE, "the message is larger than the server takes (max_payload)") from error
    except (nats.errors.Error, OSError) as error:
        raise BrokerUnavailableError(str(error) or type(error).__name__) from error
