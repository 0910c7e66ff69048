"""Runs one child process: forwards its lines, and stops it with its block."""

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
from anyio.abc import ByteReceiveStream, Process

from shared.run.die_with_parent import die_with_parent

STOPS_WITHIN_S = 10.0
LAST_LINES_WITHIN_S = 1.0
LINE_BYTES_AT_MOST = 64 * 1024
REASON_LENGTH_AT_MOST = 1_000

WriteLine = Callable[[str, str], None]
"""Takes the name of a process, or `chorus` for the supervisor itself, and one line of output."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class ChildProgram(NamedTuple):
    """A program to run as a child. `name` marks its lines; `environment` is added to the supervisor's own."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({})


@asynccontextmanager
async def child_process(
    program: ChildProgram, environment: Mapping[str, str], write_line: WriteLine
) -> AsyncIterator[Process]:
    """Run the program while the block is entered; forward its lines, including those it writes while it stops."""
    process = await anyio.open_process(
        die_with_parent(program.command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # Only the supervisor gets Ctrl-C, and then stops its children.
    )
    assert process.stdout is not None
    lines = anyio.CancelScope(shield=True)
    async with anyio.create_task_group() as forwarding:
        forwarding.start_soon(_forward_lines, program.name, process.stdout, lines, write_line)
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                await stop_process(process)
            lines.deadline = anyio.current_time() + LAST_LINES_WITHIN_S


def send_signal(process: Process, number: signal.Signals) -> None:
    """Send a signal, unless the process has just ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


def last_error(lines: Sequence[str]) -> str:
    """The last error among the lines of a process, without colour or JSON; the last line when none is an error."""
    plain = [text for line in lines if (text := _COLOUR.sub("", line).strip())]
    errors = [text for line in plain if (text := _error_in(line))]
    return (errors or plain or ["it wrote nothing"])[-1][:REASON_LENGTH_AT_MOST]


def _error_in(line: str) -> str:
    """The error of a JSON log line, or the line itself when it is not JSON; empty for log lines of lower levels."""
    try:
        logged = json.loads(line)
    except ValueError:
        return line.removeprefix("chorus: ")
    if not isinstance(logged, dict) or logged.get("level") not in ("error", "critical"):
        return ""
    return ": ".join(str(logged[field]) for field in ("event", "reason") if field in logged)


async def stop_process(process: Process, *, within_s: float = STOPS_WITHIN_S) -> None:
    """Send SIGTERM, and SIGKILL after `within_s`. Idempotent."""
    send_signal(process, signal.SIGTERM)
    with anyio.move_on_after(within_s):
        await process.wait()
        return
    send_signal(process, signal.SIGKILL)
    await process.wait()


async def _forward_lines(name: str, output: ByteReceiveStream, scope: anyio.CancelScope, write_line: WriteLine) -> None:
    pending = b""
    with scope:
        async for chunk in output:
            *complete, pending = (pending + chunk).split(b"\n")
            if len(pending) > LINE_BYTES_AT_MOST:
                complete, pending = [*complete, pending], b""
            for line in complete:
                write_line(name, line.decode(errors="backslashreplace"))
    if pending:
        write_line(name, pending.decode(errors="backslashreplace"))
