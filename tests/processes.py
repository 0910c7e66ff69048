"""Worker processes as an operator has them: started, heard to be ready, told to stop, or killed."""

import asyncio
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from tests.forking import ForkedProcess, fork
from tests.waiting import WITHIN_S

LINES_SHOWN = 12


class NotReadyError(AssertionError):
    """A worker ended, or said nothing, before it was ready."""


class Worker:
    """One process; its log is a file."""

    def __init__(self, name: str, process: ForkedProcess, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.running:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """Ask it to end in good order; its exit code."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        try:
            async with asyncio.timeout(WITHIN_S):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"{self.name} had not ended after {WITHIN_S:g} s\n{self.tail}") from None


async def spawn(name: str, words: Sequence[str], environ: Mapping[str, str], log: Path) -> Worker:
    """Start `python -m MODULE ARGUMENTS…`, whose output goes to the end of a file."""
    with log.open("ab") as output:
        return Worker(name, await fork(words, environ, output), log)


class _Ears(asyncio.DatagramProtocol):
    """Hears the notify protocol of systemd."""

    def __init__(self) -> None:
        self.ready = anyio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take in one datagram, from wherever it comes."""
        del addr
        if b"READY=1" in data.splitlines():
            self.ready.set()


async def spawn_ready(
    name: str, words: Sequence[str], environ: Mapping[str, str], log: Path, notify_socket: Path
) -> Worker:
    """Start a worker and wait until it says that it is ready, on a socket that is not there yet."""
    ears, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        _Ears, local_addr=str(notify_socket), family=socket.AF_UNIX
    )
    worker = await spawn(name, words, {**environ, "NOTIFY_SOCKET": str(notify_socket)}, log)
    ready, ended = asyncio.ensure_future(protocol.ready.wait()), asyncio.ensure_future(worker.ended())
    try:
        await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        if not protocol.ready.is_set():
            raise NotReadyError(f"{name} is not ready\n{worker.tail}")
    finally:
        ready.cancel()
        ended.cancel()
        ears.close()
        await anyio.Path(notify_socket).unlink()
    return worker
