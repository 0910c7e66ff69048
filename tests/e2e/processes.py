"""Worker processes as an operator has them: started, heard to be ready, told to stop, or killed."""

import asyncio
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from shared.run.die_with_parent import die_with_parent

READY_WITHIN_S = 60.0
"""A deadline, no judgement: a machine that does other things beside takes 20 s to start eight processes."""
STOPS_WITHIN_S = 10.0
LINES_SHOWN = 12


class NotReadyError(AssertionError):
    """A worker ended, or said nothing, before it was ready."""


class Worker:
    """One process; its log is a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
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

    async def stop(self, *, within_s: float = STOPS_WITHIN_S) -> int:
        """Ask it to end in good order; its exit code."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        return await self.ended(within_s=within_s)

    async def ended(self, *, within_s: float) -> int:
        """Wait until it has ended by itself; its exit code."""
        try:
            async with asyncio.timeout(within_s):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"{self.name} had not ended after {within_s:g} s\n{self.tail}") from None


async def spawn(name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> Worker:
    """Start a process whose output goes to the end of a file."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *die_with_parent([sys.executable, *command]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environ),
            start_new_session=True,
        )
    return Worker(name, process, log)


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
    name: str, command: Sequence[str], environ: Mapping[str, str], log: Path, notify_socket: Path
) -> Worker:
    """Start a worker and wait until it says that it is ready, on a socket that is not there yet."""
    ears, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        _Ears, local_addr=str(notify_socket), family=socket.AF_UNIX
    )
    worker = await spawn(name, command, {**environ, "NOTIFY_SOCKET": str(notify_socket)}, log)
    ready, ended = asyncio.ensure_future(protocol.ready.wait()), asyncio.ensure_future(worker.ended(within_s=3600))
    try:
        await asyncio.wait((ready, ended), timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if not protocol.ready.is_set():
            raise NotReadyError(f"{name} is not ready\n{worker.tail}")
    finally:
        ready.cancel()
        ended.cancel()
        ears.close()
        await anyio.Path(notify_socket).unlink()
    return worker
