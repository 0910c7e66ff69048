"""A client that writes the NATS protocol by hand, to send what no client library sends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.waiting import WITHIN_S

OPTIONS = {"verbose": False, "pedantic": False, "headers": True, "protocol": 1}


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def publish(self, subject: bytes, body: bytes, headers: bytes | None = None) -> Any:
        """Publish exactly these bytes; the answer of JetStream."""
        if headers is None:
            self._writer.write(b"PUB %s answer %d\r\n" % (subject, len(body)))
        else:
            sizes = (len(headers), len(headers) + len(body))
            self._writer.write(b"HPUB %s answer %d %d\r\n%s" % (subject, *sizes, headers))
        self._writer.write(body + b"\r\n")
        async with asyncio.timeout(WITHIN_S):
            while not (line := await self._reader.readline()).startswith(b"MSG answer"):
                assert line, "the server has closed the connection"
            return json.loads(await self._reader.readexactly(int(line.split()[-1])))


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """A connection to the server at `url`."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    login = {"user": where.username, "pass": where.password} if where.username else {}
    writer.write(b"CONNECT %s\r\nSUB answer 1\r\n" % json.dumps({**OPTIONS, **login}).encode())
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def header_block(**headers: str) -> bytes:
    """Headers as they are on the wire; `Nats_Msg_Id` is `Nats-Msg-Id`."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()
