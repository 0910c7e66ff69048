"""Keeps a nats-server of our own running: restarts it when it dies, hangs, or says that it is not well."""

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio

from shared.engine.retry import Backoff, Delays
from shared.ports.broker import BrokerUnavailableError
from shared.run.child_process import STOPS_WITHIN_S, WriteLine
from shared.run.healthz import unhealthy_reason
from shared.run.server import ASK_TIMEOUT_S, NOTHING_MORE, LocalServer, ServerError, local_server
from shared.run.staging import stage_in_ram

RESTART_DELAYS = Delays(first_s=0.1, last_s=10.0)
PROVEN_AFTER_S = 30.0
"""After a run of this length the next delay is the first one again."""
RECOVERS_WITHIN_S = 600.0
"""How long a restarted server may read a large store."""
SPACE_AT_LEAST = 4 * 2**20
"""With less free space on the disk, in bytes, the server fails again at its first write."""


class Watch(NamedTuple):
    """How a server is watched. All are in seconds.

    A server that has been unwell for `unwell_at_most_s` does not recover by itself. It may be silent for longer: a busy
    disk keeps the monitor from answering. A server that is stopped has `stops_within_s` before SIGKILL.
    """

    ask_every_s: float = 1.0
    answers_within_s: float = ASK_TIMEOUT_S
    unwell_at_most_s: float = 5.0
    silent_at_most_s: float = 30.0
    stops_within_s: float = STOPS_WITHIN_S


WATCH = Watch()


@asynccontextmanager
async def supervised_server(
    directory: Path,
    *,
    port: int,
    write_line: WriteLine,
    watch: Watch = WATCH,
    more: Mapping[str, Any] = NOTHING_MORE,
) -> AsyncIterator[str]:
    """Run a server and yield its URL. A restart uses the same port, where its clients look for it.

    `more` is added to its configuration, such as its users.

    The server runs until the block is left, even while the block is cancelled: workers need it to drain.

    Raises:
        ServerError: the first start failed.
    """
    supervising = anyio.CancelScope(shield=True)
    async with local_server(directory, port=port, more=more) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(_supervise, server, write_line, supervising, watch, more)
        try:
            yield server.url
        finally:
            supervising.cancel()


async def _supervise(
    server: LocalServer,
    write_line: WriteLine,
    scope: anyio.CancelScope,
    watch: Watch,
    more: Mapping[str, Any],
) -> None:
    """Restart the server whenever it ends; after a failed start, wait twice as long before the next."""
    port = urlsplit(server.url).port or -1
    with scope:
        await _run_once(server, write_line, watch)
        restarts = Backoff(RESTART_DELAYS)
        while True:
            delay_s = restarts.next_s()
            write_line("chorus", f"the nats-server ended, starting it again in {delay_s:g} s")
            await anyio.sleep(delay_s)
            try:
                async with local_server(
                    server.directory, port=port, more=more, recovers_within_s=RECOVERS_WITHIN_S
                ) as again:
                    write_line("chorus", "the nats-server is back")
                    began = anyio.current_time()
                    await _run_once(again, write_line, watch)
                    if anyio.current_time() - began > PROVEN_AFTER_S:
                        restarts.reset()
            except ServerError as error:
                write_line("chorus", f"{error}{_lack_of_space(server.directory)}")


async def _run_once(server: LocalServer, write_line: WriteLine, watch: Watch) -> None:
    """Return when the server has ended. Stop it when only a restart can help it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, server, write_line, watch)
        await server.wait()
        tasks.cancel_scope.cancel()


async def _watch(server: LocalServer, write_line: WriteLine, watch: Watch) -> None:
    """Stop a server that is silent or unwell for too long; keep it running while the disk is full."""
    well_at = anyio.current_time()
    written = ""
    while True:
        await anyio.sleep(watch.ask_every_s)
        await stage_in_ram(server.directory)  # A stream may be new, or the RAM disk swept.
        try:
            reason = await unhealthy_reason(server.monitor_url, within_s=watch.answers_within_s)
            patience_s = watch.unwell_at_most_s
        except BrokerUnavailableError as error:
            reason, patience_s = str(error), watch.silent_at_most_s
        if reason is None:
            well_at = anyio.current_time()
        elif anyio.current_time() - well_at > patience_s:
            lack = _lack_of_space(server.directory)
            if not lack:
                write_line("chorus", f"the nats-server is not well, stopping it: {reason}")
                await server.stop(within_s=watch.stops_within_s)
                return
            if written != reason:
                written = reason
                remedy = "chorus restarts it once there is more"
                write_line("chorus", f"the nats-server is not well: {reason}{lack}; {remedy}")


def _lack_of_space(directory: Path) -> str:
    """A clause that asks for space, or nothing when the disk has enough."""
    free = shutil.disk_usage(directory).free
    return "" if free >= SPACE_AT_LEAST else f"; free some space: {directory} has {free // 1024} KiB left"
