"""Keeps workers running on one machine: starts them, watches that they live, restarts a worker that died or hangs.

Workers speak systemd's notify protocol, so they need no second protocol in production. Each has a datagram socket of
its own (`NOTIFY_SOCKET`), sends READY=1 when its consumers are bound and WATCHDOG=1 every second. The supervisor
answers silence with SIGKILL, because a process that is stopped inside its transaction would block its whole context.

A worker that exits with 64, 77 or 78 refuses to start: its command line, a permission or its configuration is wrong.
The supervisor tries again, with longer and longer pauses, because an operator may correct it; the others go on.
"""

import signal
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process, TaskGroup

from shared.config.exit_codes import Exit
from shared.engine.retry import Backoff, Delays
from shared.run.child_process import (
    STOPS_WITHIN_S,
    ChildProgram,
    WriteLine,
    child_process,
    last_error,
    send_signal,
)
from shared.run.refusals import NotWorthRestartingError, Refusal, describe_refusal
from shared.run.report_socket import ReportSocket, socket_directory

STARTS_WITHIN_S = 60.0
"""Enough for a worker that reads its database first. A worker that sends WATCHDOG=1 meanwhile has longer."""
SILENT_AT_MOST_S = 10.0
RESTART_DELAYS = Delays(first_s=0.1, last_s=5.0)
REFUSED_DELAYS = Delays(first_s=10.0, last_s=300.0)
PROVEN_AFTER_S = 30.0
"""After a run of this length the next delay is the first one again."""
LINES_KEPT = 20


class _Supervised:
    """One program and the process that runs it now."""

    def __init__(self, program: ChildProgram) -> None:
        self.program = program
        self.scope = anyio.CancelScope()
        self.ready = anyio.Event()
        self.ready_or_refused = anyio.Event()
        """Set once the program was ready or refused to start."""
        self.ended = anyio.Event()
        self.pid = 0
        self.restarts = 0
        self.refusal: Refusal | None = None
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)


class Supervisor:
    """Supervises programs by name. Unless `tolerant`, the first program that refuses to start ends all of them."""

    def __init__(
        self,
        tasks: TaskGroup,
        sockets: Path,
        environment: Mapping[str, str],
        write_line: WriteLine,
        silent_at_most_s: float,
        *,
        tolerant: bool,
        refused_delays: Delays = REFUSED_DELAYS,
    ) -> None:
        self._tasks = tasks
        self._sockets = sockets
        self._environment = {**environment, "WATCHDOG_USEC": str(int(silent_at_most_s * 1e6))}
        self._write_line = write_line
        self._silent_at_most_s = silent_at_most_s
        self._tolerant = tolerant
        self._refused_delays = refused_delays
        self._children: dict[str, _Supervised] = {}

    def start(self, program: ChildProgram) -> None:
        """Start a program, and restart it whenever it ends."""
        child = self._children[program.name] = _Supervised(program)
        self._tasks.start_soon(self._supervise, child)

    async def stop(self, name: str) -> ChildProgram:
        """Stop one program for good, and return it so that the caller can start it again."""
        child = self._children.pop(name)
        child.scope.cancel()
        await child.ended.wait()
        return child.program

    async def ready(self) -> None:
        """Wait until every program has reported that it is ready."""
        for child in list(self._children.values()):
            await child.ready.wait()

    async def ready_or_refused(self) -> None:
        """Wait until every program has reported that it is ready or has refused to start."""
        for child in list(self._children.values()):
            await child.ready_or_refused.wait()

    @property
    def pids(self) -> Mapping[str, int]:
        """The id of the process that runs each program now, or ran it last."""
        return {name: child.pid for name, child in self._children.items()}

    @property
    def refusals(self) -> Mapping[str, Refusal]:
        """The programs that refuse to start, and why."""
        return {name: child.refusal for name, child in self._children.items() if child.refusal is not None}

    async def _supervise(self, child: _Supervised) -> None:
        restarts, refusals = Backoff(RESTART_DELAYS), Backoff(self._refused_delays)
        try:
            with child.scope:
                while True:
                    began = anyio.current_time()
                    code = await self._run(child)
                    if anyio.current_time() - began > PROVEN_AFTER_S:
                        restarts.reset()
                        refusals.reset()
                    if code in (Exit.USAGE, Exit.DENIED, Exit.MISCONFIGURED):
                        delay_s = refusals.next_s()
                        self._refuse(child, code, delay_s)
                    else:
                        delay_s = restarts.next_s()
                        ended = f"{child.program.name} ended ({_describe_exit(code)})"
                        self._write_line("chorus", f"{ended}, starting it again in {delay_s:g} s")
                    await anyio.sleep(delay_s)
                    child.restarts += 1
        finally:
            child.ended.set()

    def _refuse(self, child: _Supervised, code: int, delay_s: float) -> None:
        """Record the refusal. Raises NotWorthRestartingError unless another program may still start."""
        child.refusal = Refusal(code, last_error(child.lines))
        child.ready_or_refused.set()
        if not self._tolerant or len(self.refusals) == len(self._children):
            raise NotWorthRestartingError(self.refusals)
        refusal = describe_refusal(child.program.name, child.refusal)
        self._write_line("chorus", f"{refusal}; trying again in {delay_s:g} s")

    async def _run(self, child: _Supervised) -> int:
        """Run the program once, from start to end; return its exit code, negative for a signal."""
        path = self._sockets / f"{id(child):x}"
        environment = {**self._environment, **child.program.environment, "NOTIFY_SOCKET": str(path)}
        child.lines.clear()

        def write_line(name: str, line: str) -> None:
            child.lines.append(line)
            self._write_line(name, line)

        with ReportSocket(path) as listener:
            async with (
                child_process(child.program, environment, write_line) as process,
                anyio.create_task_group() as watching,
            ):
                child.pid = process.pid
                watching.start_soon(self._watch, child, process, listener)
                code = await process.wait()
                watching.cancel_scope.cancel()
            return code

    async def _watch(self, child: _Supervised, process: Process, listener: ReportSocket) -> None:
        """Kill the process when it is silent for too long. A datagram holds one report per line."""
        starting = True
        while True:
            patience_s = STARTS_WITHIN_S if starting else self._silent_at_most_s
            notified = await listener.receive(patience_s)
            if notified is None:
                break
            starting = starting and not notified & {b"READY=1", b"WATCHDOG=1"}
            if b"READY=1" in notified:
                child.refusal = None
                child.ready.set()
                child.ready_or_refused.set()
                if child.restarts:
                    self._write_line("chorus", f"{child.program.name} is back")
            if b"STOPPING=1" in notified:
                await anyio.sleep(STOPS_WITHIN_S)
                break
        self._write_line("chorus", f"{child.program.name} hangs: killing it")
        send_signal(process, signal.SIGKILL)


@asynccontextmanager
async def supervised(
    programs: Iterable[ChildProgram],
    environment: Mapping[str, str],
    write_line: WriteLine,
    *,
    silent_at_most_s: float = SILENT_AT_MOST_S,
    tolerant: bool = False,
    refused_delays: Delays = REFUSED_DELAYS,
) -> AsyncIterator[Supervisor]:
    """Start the programs when the block is entered, and stop them when it is left, each within STOPS_WITHIN_S.

    Raises:
        NotWorthRestartingError: a program refuses to start, or with `tolerant` all do. All programs are then stopped.
    """
    with socket_directory() as sockets:
        try:
            async with anyio.create_task_group() as tasks:
                supervisor = Supervisor(
                    tasks,
                    sockets,
                    environment,
                    write_line,
                    silent_at_most_s,
                    tolerant=tolerant,
                    refused_delays=refused_delays,
                )
                for program in programs:
                    supervisor.start(program)
                yield supervisor
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in nested groups: each task group wraps it once."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _describe_exit(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
