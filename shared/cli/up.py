"""`chorus up`: a shop on one machine, server and workers, until Ctrl-C."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection
from shared.exits import Exit

if TYPE_CHECKING:
    from shared.ops.shop import Shop
    from shared.ops.supervisor import Tell

DEFAULT_PORT = 4222


def up(
    *,
    port: Annotated[int | None, Parameter(help="of the server that is started [default: 4222]")] = None,
    data: Annotated[Path | None, Parameter(help="for the server and the databases [CHORUS_DATA_DIR]")] = None,
    copies: Annotated[int, Parameter(help="workers of each context; they share its partitions")] = 1,
    connection: Connection = HERE,
) -> int:
    """Run a server and every worker, until Ctrl-C.

    With connection flags, NATS_URL or a nats context it starts no server and uses
    that one. Streams are applied first. A worker that dies or hangs is started
    again. Says when all are ready; SIGTERM or Ctrl-C stops all.

    For example:

        chorus up
        chorus up --port 4333 --data /tmp/shop
        chorus up --server nats://10.0.0.7:4222 --copies 2
    """
    import anyio

    from shared.connection import find_connection
    from shared.settings import load_settings

    if port is not None and connection.given:
        raise CommandError(Exit.USAGE, f"--port starts a server, --{next(iter(connection.given))} uses another: choose")
    if port is not None and not -1 <= port <= 65535:
        raise CommandError(Exit.USAGE, f"--port {port} is no port")
    if not 1 <= copies <= 16:
        raise CommandError(Exit.USAGE, f"--copies {copies}: 1 to 16")
    environ = {**os.environ, **connection.variables()}
    if data is not None:
        environ["CHORUS_DATA_DIR"] = str(data)
    if sys.stderr.isatty():
        environ.setdefault("CHORUS_LOG_FORMAT", "console")
    if port is None and find_connection(environ).source == "default":
        port = DEFAULT_PORT
    anyio.run(_up, port, copies, environ, load_settings(environ).log_format)
    return Exit.OK


async def _up(port: int | None, copies: int, environ: Mapping[str, str], log_format: str) -> None:
    import anyio

    from shared import log
    from shared.ops.shop import open_shop

    log.configure("error", "auto", context="up")
    tell = _teller(log_format)
    began = anyio.current_time()
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with (
            open_shop(environ, tell=tell, port=port, copies=copies) as shop,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_announce, shop, began)
            async for _ in signals:
                break
            tell("chorus", "stopping")
            tasks.cancel_scope.cancel()


async def _announce(shop: "Shop", began: float) -> None:
    import anyio

    await shop.supervisor.ready()
    took_s = anyio.current_time() - began
    url = ",".join(shop.options.servers)
    flag = "" if url.endswith(f"127.0.0.1:{DEFAULT_PORT}") else f" -s {url}"
    print(
        f"ready after {took_s:.1f} s: {len(shop.supervisor.pids)} workers on {url}; "
        f"try: chorus send{flag} inventory.ReplenishStock apple quantity=10 delivery_id=d-1 --wait",
        flush=True,
    )


def _teller(form: str) -> "Tell":
    """Lines of workers as they are where a program reads them, marked with who said it where a person does."""
    if form == "json" or (form == "auto" and not sys.stderr.isatty()):
        return _tell_programs
    return _tell_people


def _tell_programs(name: str, line: str) -> None:
    said = json.dumps({"context": name, "level": "info", "event": line}) if name == "chorus" else line
    print(said, file=sys.stderr, flush=True)


def _tell_people(name: str, line: str) -> None:
    print(f"{name:14}| {line}", file=sys.stderr, flush=True)
