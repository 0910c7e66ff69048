"""A whole system on one machine: a server, the streams as they must be, and a process for every context."""

import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from shared import catalog
from shared.adapters.jetstream import connect
from shared.catalog import CatalogError, Loaded
from shared.config.connection import ConnectionOptions, find_connection
from shared.config.settings import Settings
from shared.context import Context
from shared.run.child_process import Program, Tell
from shared.run.kept_server import kept_server
from shared.run.supervisor import Supervisor, supervised
from shared.streams.apply import Outcome, apply
from shared.streams.file import read_topology
from shared.topology import Declared, declare


class DestructiveChangeError(Exception):
    """The streams are not as declared, and making them so would destroy what they hold."""


class System(NamedTuple):
    """A system that is starting: wait for `supervisor.ready()`, or `settled()` when it is tolerant.

    `left_out` are the contexts that have mistakes, and which; they are not started.
    """

    options: ConnectionOptions
    supervisor: Supervisor
    left_out: Mapping[str, CatalogError]


@asynccontextmanager
async def open_system(
    environ: Mapping[str, str], *, tell: Tell, port: int | None = None, copies: int = 1, tolerant: bool = False
) -> AsyncIterator[System]:
    """Streams and workers, on a server of our own when a port is given (-1: any), else on the one `environ` names.

    When the block is left the workers are stopped first, then the server.

    Raises:
        CatalogError: a context has mistakes, or with `tolerant` none can run.
        DestructiveChangeError: and nothing was changed.
        NotWorthRestartingError: a worker refuses to start, or with `tolerant` all of them do.
    """
    settings = catalog.read_settings(environ)
    loaded = catalog.load_all(settings)
    if not tolerant or not loaded.members:
        catalog.contexts(settings)  # Raises all mistakes at once.
    workers = programs(loaded, settings, copies)
    data_dir = private_directory(settings.data_dir)
    async with AsyncExitStack() as stack:
        if port is not None:
            url = await stack.enter_async_context(kept_server(data_dir / "nats", port=port, tell=tell))
            environ = own_environment(environ, url=url, data_dir=data_dir)
        options = find_connection(environ)
        wanted = declare(read_topology(settings.streams_file), loaded.members.values())
        if (await _apply(options, wanted, {*loaded.broken, *loaded.misfits})).refused:
            raise DestructiveChangeError(
                "streams.yaml asks for what would destroy stored messages; see chorus streams plan"
            )
        supervisor = await stack.enter_async_context(supervised(workers, environ, tell, tolerant=tolerant))
        yield System(options, supervisor, loaded.misfits)


def declared(settings: Settings) -> tuple[Declared, ...]:
    """The streams and consumers that this code needs; raises StreamsFileError or CatalogError."""
    return declare(read_topology(settings.streams_file), catalog.contexts(settings).values())


async def apply_streams(options: ConnectionOptions, settings: Settings) -> Outcome:
    """Make the broker's streams and consumers as declared."""
    return await _apply(options, declared(settings), set())


async def _apply(options: ConnectionOptions, wanted: Sequence[Declared], absent: Collection[str]) -> Outcome:
    broker = await connect(options, name="chorus streams apply")
    try:
        return await apply(broker.api, wanted, absent=absent)
    finally:
        await broker.close()


def programs(loaded: Loaded, settings: Settings, copies: int = 1) -> tuple[Program, ...]:
    """A worker for every context, or several; a service has one process, which owns its database.

    A context that does not load has one too, which says why and is tried again. With CHORUS_METRICS_PORT each has a
    port of its own, from that one on.
    """
    named = [
        (name if number == 1 else f"{name}.{number}", name)
        for name in sorted({*loaded.members, *loaded.broken})
        for number in range(1, copies + 1 if isinstance(loaded.members.get(name), Context) else 2)
    ]
    first = settings.metrics_port
    return tuple(
        Program(
            program,
            (sys.executable, "-m", "shared.cli", "worker", name),
            {} if first is None else {"CHORUS_METRICS_PORT": str(first + place)},
        )
        for place, (program, name) in enumerate(named)
    )


def own_environment(environ: Mapping[str, str], *, url: str, data_dir: Path) -> dict[str, str]:
    """The environment of workers whose server is ours: no variable and no selected nats context says otherwise."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("NATS_", "CHORUS_MONITOR_URL"))}
    return {**kept, "NATS_URL": url, "XDG_CONFIG_HOME": str(data_dir / "config"), "CHORUS_DATA_DIR": str(data_dir)}


def private_directory(path: Path) -> Path:
    """The directory, made for this user alone when it is not there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.absolute()
