"""A server of our own that stays: it is started again when it dies, hangs, or says that it is not well."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from shared.ports.broker import BrokerUnavailableError
from shared.run.child_process import Tell
from shared.run.healthz import ailment
from shared.run.server import LocalServer, ServerError, local_server

ASK_EVERY_S = 1.0
UNWELL_AT_MOST_S = 5.0
"""A server that says so for this long does not recover by itself."""
SILENT_AT_MOST_S = 30.0
"""A busy disk may keep the monitor from answering for a while."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
PROVEN_AFTER_S = 30.0
"""A server that ran this long has the first pause again when it ends."""
RECOVERS_WITHIN_S = 600.0
"""How long a server that was started again may read a large store."""
SPACE_AT_LEAST = 4 * 2**20
"""With less space on the disk, in bytes, the server fails again at its first write."""


@asynccontextmanager
async def kept_server(
    directory: Path, *, port: int, tell: Tell, silent_at_most_s: float = SILENT_AT_MOST_S
) -> AsyncIterator[str]:
    """A server of our own, by its URL. It is started again on the same port, where its clients look for it.

    It stays until the block is left, even when the block is cancelled: workers need it to stop in good order.

    Raises:
        ServerError: it does not start for the first time.
    """
    kept = anyio.CancelScope(shield=True)
    async with local_server(directory, port=port) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(_keep, server, tell, kept, silent_at_most_s)
        try:
            yield server.url
        finally:
            kept.cancel()


async def _keep(server: LocalServer, tell: Tell, kept: anyio.CancelScope, silent_at_most_s: float) -> None:
    """Start the server again whenever it has ended; when it does not start, try again ever more rarely."""
    port = urlsplit(server.url).port or -1
    with kept:
        await _serve(server, tell, silent_at_most_s)
        pause = FIRST_PAUSE_S
        while True:
            tell("chorus", f"the nats-server ended, starting it again in {pause:g} s")
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            try:
                async with local_server(server.directory, port=port, recovers_within_s=RECOVERS_WITHIN_S) as again:
                    tell("chorus", "the nats-server is back")
                    began = anyio.current_time()
                    await _serve(again, tell, silent_at_most_s)
                    if anyio.current_time() - began > PROVEN_AFTER_S:
                        pause = FIRST_PAUSE_S
            except ServerError as error:
                tell("chorus", f"{error}{_space_in(server.directory)}")


async def _serve(server: LocalServer, tell: Tell, silent_at_most_s: float) -> None:
    """Return when the server has ended. It is stopped when only a new start can help it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, server, tell, silent_at_most_s)
        await server.wait()
        tasks.cancel_scope.cancel()


async def _watch(server: LocalServer, tell: Tell, silent_at_most_s: float) -> None:
    """Stop a server that is silent or unwell for too long; one that lacks space keeps running until there is some."""
    well_at = anyio.current_time()
    told = ""
    while True:
        await anyio.sleep(ASK_EVERY_S)
        try:
            said, patience_s = await ailment(server.monitor_url), UNWELL_AT_MOST_S
        except BrokerUnavailableError as error:
            said, patience_s = str(error), silent_at_most_s
        if said is None:
            well_at = anyio.current_time()
        elif anyio.current_time() - well_at > patience_s:
            lacking = _space_in(server.directory)
            if not lacking:
                tell("chorus", f"the nats-server is not well, stopping it: {said}")
                await server.stop()
                return
            if told != said:
                told = said
                tell("chorus", f"the nats-server is not well: {said}{lacking}; it is started again once there is more")


def _space_in(directory: Path) -> str:
    """How little space there is; nothing when it is enough."""
    free = shutil.disk_usage(directory).free
    return "" if free >= SPACE_AT_LEAST else f"; free some space: {directory} has {free // 1024} KiB left"
