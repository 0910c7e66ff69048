"""Keeps workers running on one machine: starts them, hears that they live, starts again the one that died or hangs.

Workers speak systemd's notify protocol, so they need no second one for production: each has a datagram socket of its
own (`NOTIFY_SOCKET`), says READY=1 when its consumers are bound and WATCHDOG=1 every second. A process that is stopped
inside its transaction would block its whole context; that is why silence is answered with SIGKILL.

A worker that ends with 64 or 78 refuses to start: its command line or its configuration is wrong. The supervisor tries
it again ever more rarely, because someone may mend it, and the other workers go on.
"""

import signal
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.abc import Process, TaskGroup, UNIXDatagramSocket

from shared.config.exit_codes import Exit
from shared.run.child_process import STOPS_WITHIN_S, Program, Tell, hear, last_error, running, send_signal

STARTS_WITHIN_S = 60.0
"""Long enough for a worker that has to read its database first; a worker that says WATCHDOG=1 meanwhile has longer."""
SILENT_AT_MOST_S = 10.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
FIRST_REFUSED_PAUSE_S = 10.0
LONGEST_REFUSED_PAUSE_S = 300.0
PROVEN_AFTER_S = 30.0
"""A worker that ran this long has the first pause again when it dies."""
LINES_KEPT = 20


class Refusal(NamedTuple):
    """Why a program does not start: its exit code, 64 or 78, and its last error line."""

    code: int
    reason: str


class NotWorthRestartingError(Exception):
    """Programs refuse to start: they would end the same way every time. `code` is the exit code of all, or 78."""

    def __init__(self, refusals: Mapping[str, Refusal]) -> None:
        super().__init__("\n".join(described(name, refusal) for name, refusal in refusals.items()))
        self.code = code_of(refusals)


class _Kept:
    """One program and the process that runs it now."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.scope = anyio.CancelScope()
        self.ready = anyio.Event()
        self.settled = anyio.Event()
        """Set once it was ready, or refused to start."""
        self.ended = anyio.Event()
        self.pid = 0
        self.restarts = 0
        self.refusal: Refusal | None = None
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)


class Supervisor:
    """The programs that are kept, by name. Unless `tolerant`, the first program that refuses to start ends all."""

    def __init__(
        self,
        tasks: TaskGroup,
        sockets: Path,
        environment: Mapping[str, str],
        tell: Tell,
        silent_at_most_s: float,
        *,
        tolerant: bool,
    ) -> None:
        self._tasks = tasks
        self._sockets = sockets
        self._environment = {**environment, "WATCHDOG_USEC": str(int(silent_at_most_s * 1e6))}
        self._tell = tell
        self._silent_at_most_s = silent_at_most_s
        self._tolerant = tolerant
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

    async def settled(self) -> None:
        """Wait until every program has said that it is ready, or has refused to start."""
        for kept in list(self._kept.values()):
            await kept.settled.wait()

    @property
    def pids(self) -> Mapping[str, int]:
        """The process that runs each program now, or ran it last."""
        return {name: kept.pid for name, kept in self._kept.items()}

    @property
    def refusals(self) -> Mapping[str, Refusal]:
        """The programs that refuse to start, and why."""
        return {name: kept.refusal for name, kept in self._kept.items() if kept.refusal is not None}

    async def _keep(self, kept: _Kept) -> None:
        pause = FIRST_PAUSE_S
        refused_pause = FIRST_REFUSED_PAUSE_S
        try:
            with kept.scope:
                while True:
                    began = anyio.current_time()
                    code = await self._run(kept)
                    if anyio.current_time() - began > PROVEN_AFTER_S:
                        pause, refused_pause = FIRST_PAUSE_S, FIRST_REFUSED_PAUSE_S
                    if code in (Exit.USAGE, Exit.MISCONFIGURED):
                        self._refuse(kept, code, refused_pause)
                        await anyio.sleep(refused_pause)
                        refused_pause = min(refused_pause * 2, LONGEST_REFUSED_PAUSE_S)
                    else:
                        ended = f"{kept.program.name} ended ({_described(code)})"
                        self._tell("chorus", f"{ended}, starting it again in {pause:g} s")
                        await anyio.sleep(pause)
                        pause = min(pause * 2, LONGEST_PAUSE_S)
                    kept.restarts += 1
        finally:
            kept.ended.set()

    def _refuse(self, kept: _Kept, code: int, pause: float) -> None:
        """Record that the program does not start. Raises NotWorthRestartingError when the others do not either."""
        kept.refusal = Refusal(code, last_error(kept.lines))
        kept.settled.set()
        if not self._tolerant or len(self.refusals) == len(self._kept):
            raise NotWorthRestartingError(self.refusals)
        self._tell("chorus", f"{described(kept.program.name, kept.refusal)}; trying again in {pause:g} s")

    async def _run(self, kept: _Kept) -> int:
        """Run the program once, from start to end; its exit code, negative for a signal."""
        path = self._sockets / kept.program.name
        environment = {**self._environment, **kept.program.environment, "NOTIFY_SOCKET": str(path)}
        kept.lines.clear()

        def tell(name: str, line: str) -> None:
            kept.lines.append(line)
            self._tell(name, line)

        async with (
            await anyio.create_unix_datagram_socket(local_path=path, local_mode=0o600) as listener,
            running(kept.program, environment, tell) as process,
            anyio.create_task_group() as watching,
        ):
            kept.pid = process.pid
            watching.start_soon(self._watch, kept, process, listener)
            code = await process.wait()
            watching.cancel_scope.cancel()
        return code

    async def _watch(self, kept: _Kept, process: Process, listener: UNIXDatagramSocket) -> None:
        """Kill the process when it is silent for too long; what it says is a line each, several to a datagram."""
        starting = True
        while (said := await hear(listener, STARTS_WITHIN_S if starting else self._silent_at_most_s)) is not None:
            starting = starting and not said & {b"READY=1", b"WATCHDOG=1"}
            if b"READY=1" in said:
                kept.refusal = None
                kept.ready.set()
                kept.settled.set()
                if kept.restarts:
                    self._tell("chorus", f"{kept.program.name} is back")
            if b"STOPPING=1" in said:
                await anyio.sleep(STOPS_WITHIN_S)
                break
        self._tell("chorus", f"{kept.program.name} hangs: killing it")
        send_signal(process, signal.SIGKILL)


@asynccontextmanager
async def supervised(
    programs: Iterable[Program],
    environment: Mapping[str, str],
    tell: Tell,
    *,
    silent_at_most_s: float = SILENT_AT_MOST_S,
    tolerant: bool = False,
) -> AsyncIterator[Supervisor]:
    """The programs are started when the block is entered and stopped when it is left, each within STOPS_WITHIN_S.

    Raises:
        NotWorthRestartingError: a program refuses to start, or with `tolerant` all do; after everything was stopped.
    """
    with tempfile.TemporaryDirectory(prefix="chorus-") as sockets:
        try:
            async with anyio.create_task_group() as tasks:
                supervisor = Supervisor(tasks, Path(sockets), environment, tell, silent_at_most_s, tolerant=tolerant)
                for program in programs:
                    supervisor.start(program)
                yield supervisor
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None


def described(name: str, refusal: Refusal) -> str:
    """Which program does not start, and why."""
    return f"{name} cannot start (exit code {refusal.code}): {refusal.reason}"


def code_of(refusals: Mapping[str, Refusal]) -> Exit:
    """The exit code of whoever ends while these programs refuse to start: the code of all of them, or 78."""
    codes = {refusal.code for refusal in refusals.values()}
    if not codes:
        return Exit.OK
    return Exit(codes.pop()) if len(codes) == 1 else Exit.MISCONFIGURED


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; a task group wraps it once for every level."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _described(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
