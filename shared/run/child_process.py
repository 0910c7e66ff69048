"""One child process: every line it writes is told, what it notifies is heard, and it ends with its block."""

import contextlib
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import NamedTuple

import anyio
from anyio.abc import ByteReceiveStream, Process, UNIXDatagramSocket

from shared.run.parent_death import ending_with_parent

STOPS_WITHIN_S = 10.0
GRACE_S = 0.1
LAST_LINES_WITHIN_S = 1.0
LINE_BYTES_AT_MOST = 64 * 1024
REASON_LENGTH_AT_MOST = 1_000

Tell = Callable[[str, str], None]
"""Takes the name of a process, or `chorus` for the supervisor itself, and one line."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Program(NamedTuple):
    """A process to keep: `name` is how its lines are marked, `environment` what it has of its own."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({})


@asynccontextmanager
async def running(program: Program, environment: Mapping[str, str], tell: Tell) -> AsyncIterator[Process]:
    """A process whose lines are told to the last, those of its stopping included."""
    process = await anyio.open_process(
        ending_with_parent(program.command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the supervisor alone, which then stops the others.
    )
    assert process.stdout is not None
    lines = anyio.CancelScope(shield=True)
    async with anyio.create_task_group() as forwarding:
        forwarding.start_soon(_forward, program.name, process.stdout, lines, tell)
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process)
            lines.deadline = anyio.current_time() + LAST_LINES_WITHIN_S


async def hear(listener: UNIXDatagramSocket, within_s: float) -> set[bytes] | None:
    """What one datagram says; None when none came. If we were stopped ourselves, what came meanwhile counts."""
    for patience_s in (within_s, GRACE_S):
        with anyio.move_on_after(patience_s):
            said, _ = await listener.receive()
            return set(said.splitlines())
    return None


def send_signal(process: Process, number: signal.Signals) -> None:
    """Send a signal, unless the process has just ended."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def last_error(lines: Sequence[str]) -> str:
    """The last error among a process's lines, as a person reads it; the last line when none is an error."""
    said = [text for line in lines if (text := _COLOUR.sub("", line).strip())]
    errors = [text for line in said if (text := _error_in(line))]
    return (errors or said or ["it wrote nothing"])[-1][:REASON_LENGTH_AT_MOST]


def _error_in(line: str) -> str:
    """The error that a log line tells, or that any other line may be; empty when it is another log line."""
    try:
        logged = json.loads(line)
    except ValueError:
        return line.removeprefix("chorus: ")
    if not isinstance(logged, dict) or logged.get("level") not in ("error", "critical"):
        return ""
    return ": ".join(str(logged[field]) for field in ("event", "reason") if field in logged)


async def _stop(process: Process) -> None:
    send_signal(process, signal.SIGTERM)
    with anyio.move_on_after(STOPS_WITHIN_S):
        await process.wait()
        return
    send_signal(process, signal.SIGKILL)
    await process.wait()


async def _forward(name: str, lines: ByteReceiveStream, scope: anyio.CancelScope, tell: Tell) -> None:
    pending = b""
    with scope:
        async for chunk in lines:
            *complete, pending = (pending + chunk).split(b"\n")
            if len(pending) > LINE_BYTES_AT_MOST:
                complete, pending = [*complete, pending], b""
            for line in complete:
                tell(name, line.decode(errors="backslashreplace"))
    if pending:
        tell(name, pending.decode(errors="backslashreplace"))
