"""Keeps workers running on one machine: starts them, hears that they live, starts again the one that died or hangs.

Workers speak systemd's notify protocol, so they need no second one for production: each has a datagram socket of its
own (`NOTIFY_SOCKET`), says READY=1 when its consumers are bound and WATCHDOG=1 every second. A process that is stopped
inside its transaction would block its whole context; that is why silence is answered with SIGKILL.
"""

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import anyio
from anyio.abc import ByteReceiveStream, Process, TaskGroup, UNIXDatagramSocket

from shared.exits import Exit
from shared.ops.leash import leashed

STARTS_WITHIN_S = 60.0
"""Long enough for a worker that has to read its database first; a worker that says WATCHDOG=1 meanwhile has longer."""
SILENT_AT_MOST_S = 10.0
STOPS_WITHIN_S = 10.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
PROVEN_AFTER_S = 30.0
"""A worker that ran this long has the first pause again when it dies."""
GRACE_S = 0.1
LAST_LINES_WITHIN_S = 1.0
LINE_BYTES_AT_MOST = 64 * 1024

Tell = Callable[[str, str], None]
"""Takes the name of a process, or `chorus` for the supervisor itself, and one line."""


class Program(NamedTuple):
    """A process to keep: `name` is how its lines are marked, `environment` what it has of its own."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({})


class NotWorthRestartingError(Exception):
    """A worker ended with 64 or 78: it would end the same way every time."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} ended with exit code {code}: its command line or its configuration is wrong")
        self.code = code


class _Kept:
    """One program and the process that runs it now."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.scope = anyio.CancelScope()
        self.ready = anyio.Event()
        self.ended = anyio.Event()
        self.pid = 0
        self.restarts = 0


class Supervisor:
    """The programs that are kept, by name."""

    def __init__(
        self, tasks: TaskGroup, sockets: Path, environment: Mapping[str, str], tell: Tell, silent_at_most_s: float
    ) -> None:
        self._tasks = tasks
        self._sockets = sockets
        self._environment = {**environment, "WATCHDOG_USEC": str(int(silent_at_most_s * 1e6))}
        self._tell = tell
        self._silent_at_most_s = silent_at_most_s
        self._kept: dict[str, _Kept] = {}

    def start(self, program: Program) -> None:
        """Keep a program from now on."""
        kept = self._kept[program.name] = _Kept(program)
        self._tasks.start_soon(self._keep, kept)

    async def stop(self, name: str) -> Program:
        """Stop one program and keep it no longer; it can be started again."""
        kept = self._kept.pop(name)
        kept.scope.cancel()
        await kept.ended.wait()
        return kept.program

    async def ready(self) -> None:
        """Wait until every program has said that it is ready."""
        for kept in list(self._kept.values()):
            await kept.ready.wait()

    @property
    def pids(self) -> Mapping[str, int]:
        """The process that runs each program now."""
        return {name: kept.pid for name, kept in self._kept.items()}

    async def _keep(self, kept: _Kept) -> None:
        name = kept.program.name
        pause = FIRST_PAUSE_S
        try:
            with kept.scope:
                while True:
                    began = anyio.current_time()
                    code = await self._run(kept)
                    if code in (Exit.USAGE, Exit.MISCONFIGURED):
                        raise NotWorthRestartingError(name, code)
                    if anyio.current_time() - began > PROVEN_AFTER_S:
                        pause = FIRST_PAUSE_S
                    self._tell("chorus", f"{name} ended ({_described(code)}), starting it again in {pause:g} s")
                    await anyio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_S)
                    kept.restarts += 1
        finally:
            kept.ended.set()

    async def _run(self, kept: _Kept) -> int:
        """Run the program once, from start to end; its exit code, negative for a signal."""
        path = self._sockets / kept.program.name
        environment = {**self._environment, **kept.program.environment, "NOTIFY_SOCKET": str(path)}
        async with (
            await anyio.create_unix_datagram_socket(local_path=path, local_mode=0o600) as listener,
            self._running(kept.program, environment) as process,
            anyio.create_task_group() as watching,
        ):
            kept.pid = process.pid
            watching.start_soon(self._watch, kept, process, listener)
            code = await process.wait()
            watching.cancel_scope.cancel()
        return code

    @asynccontextmanager
    async def _running(self, program: Program, environment: Mapping[str, str]) -> AsyncIterator[Process]:
        """A process whose lines are told to the last, those of its stopping included."""
        process = await anyio.open_process(
            leashed(program.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the supervisor alone, which then stops the others.
        )
        assert process.stdout is not None
        lines = anyio.CancelScope(shield=True)
        async with anyio.create_task_group() as forwarding:
            forwarding.start_soon(self._forward, program.name, process.stdout, lines)
            try:
                yield process
            finally:
                with anyio.CancelScope(shield=True):
                    await _stop(process)
                lines.deadline = anyio.current_time() + LAST_LINES_WITHIN_S

    async def _watch(self, kept: _Kept, process: Process, listener: UNIXDatagramSocket) -> None:
        """Kill the process when it is silent for too long; what it says is a line each, several to a datagram."""
        starting = True
        while (said := await _hear(listener, STARTS_WITHIN_S if starting else self._silent_at_most_s)) is not None:
            starting = starting and not said & {b"READY=1", b"WATCHDOG=1"}
            if b"READY=1" in said:
                kept.ready.set()
                if kept.restarts:
                    self._tell("chorus", f"{kept.program.name} is back")
            if b"STOPPING=1" in said:
                await anyio.sleep(STOPS_WITHIN_S)
                break
        self._tell("chorus", f"{kept.program.name} hangs: killing it")
        _signal(process, signal.SIGKILL)

    async def _forward(self, name: str, lines: ByteReceiveStream, scope: anyio.CancelScope) -> None:
        pending = b""
        with scope:
            async for chunk in lines:
                *complete, pending = (pending + chunk).split(b"\n")
                if len(pending) > LINE_BYTES_AT_MOST:
                    complete, pending = [*complete, pending], b""
                for line in complete:
                    self._tell(name, line.decode(errors="backslashreplace"))
        if pending:
            self._tell(name, pending.decode(errors="backslashreplace"))


@asynccontextmanager
async def supervised(
    programs: Iterable[Program],
    environment: Mapping[str, str],
    tell: Tell,
    *,
    silent_at_most_s: float = SILENT_AT_MOST_S,
) -> AsyncIterator[Supervisor]:
    """The programs are started when the block is entered and stopped when it is left, each within STOPS_WITHIN_S.

    Raises:
        NotWorthRestartingError: at any time, after everything was stopped.
    """
    with tempfile.TemporaryDirectory(prefix="chorus-") as sockets:
        try:
            async with anyio.create_task_group() as tasks:
                supervisor = Supervisor(tasks, Path(sockets), environment, tell, silent_at_most_s)
                for program in programs:
                    supervisor.start(program)
                yield supervisor
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None


async def _stop(process: Process) -> None:
    _signal(process, signal.SIGTERM)
    with anyio.move_on_after(STOPS_WITHIN_S):
        await process.wait()
        return
    _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # It may just have ended.
        process.send_signal(number)


async def _hear(listener: UNIXDatagramSocket, within_s: float) -> set[bytes] | None:
    """What one datagram says; None when none came. If we were stopped ourselves, what came meanwhile counts."""
    for patience_s in (within_s, GRACE_S):
        with anyio.move_on_after(patience_s):
            said, _ = await listener.receive()
            return set(said.splitlines())
    return None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; a task group wraps it once for every level."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _described(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
