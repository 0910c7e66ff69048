"""Runs a whole system on one machine: a server, its streams, and a worker process for every context."""

import sys
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from shared import catalog
from shared.access.directory import apply as apply_keys
from shared.access.directory import public_keys
from shared.access.login import login
from shared.access.roles import OPERATOR, users
from shared.access.server import authorization
from shared.adapters.jetstream import connect
from shared.catalog import CatalogError, Loaded
from shared.config.connection import ConnectionOptions, find_connection
from shared.config.settings import Settings, contexts_package
from shared.context import Member
from shared.derived.topology import Declared, declare
from shared.readside.group import place_of
from shared.run.child_process import ChildProgram, WriteLine
from shared.run.staging import stage_in_ram
from shared.run.supervised_server import supervised_server
from shared.run.supervisor import Supervisor, supervised
from shared.schemas.bucket import bucket, write
from shared.schemas.files import files_of
from shared.streams.apply import Applied, apply
from shared.streams.file import read_topology


class DestructiveChangeError(Exception):
    """Applying streams.yaml would destroy stored messages, so nothing was applied."""


class System(NamedTuple):
    """A system that is starting. Wait for `supervisor.ready()`, or `ready_or_refused()` when it is tolerant.

    `left_out` are the contexts that have mistakes and are not started, each with its error.
    """

    options: ConnectionOptions
    supervisor: Supervisor
    left_out: Mapping[str, CatalogError]


@asynccontextmanager
async def open_system(
    environ: Mapping[str, str],
    *,
    write_line: WriteLine,
    port: int | None = None,
    copies: int = 1,
    tolerant: bool = False,
    secure: bool = False,
) -> AsyncIterator[System]:
    """Apply the streams and start the workers, on a server of our own if `port` is given (-1: any free port).

    Without `port` they use the server that `environ` names. When the block is left, the workers stop before the server.
    With `secure` our own server knows only the users of `chorus access`, whose keys are made when they are missing.

    Raises:
        CatalogError: a context has mistakes, or with `tolerant` no context can run.
        DestructiveChangeError: nothing was changed.
        NotWorthRestartingError: a worker refuses to start, or with `tolerant` all of them do.
    """
    settings = catalog.read_settings(environ)
    loaded = catalog.load_all(settings)
    if not tolerant or not loaded.running:
        catalog.members(settings)  # Raises all mistakes at once.
    workers = programs(loaded, settings, copies)
    data_dir = private_directory(settings.data_dir)
    async with AsyncExitStack() as stack:
        if port is not None:
            more = _users_of(settings, loaded) if secure else {}
            server = supervised_server(data_dir / "nats", port=port, write_line=write_line, more=more)
            environ = own_environment(environ, url=await stack.enter_async_context(server), data_dir=data_dir)
        options = login(find_connection(environ), OPERATOR, settings.seeds)
        wanted = wanted_of(settings, loaded.running.values())
        absent = {*loaded.broken, *loaded.misfits}
        if (await _apply(options, wanted, loaded.running.values(), absent)).refused:
            raise DestructiveChangeError(
                "streams.yaml asks for a change that would destroy stored messages; nothing was applied,"
                " run chorus streams plan to see it"
            )
        if port is not None:
            await stage_in_ram(data_dir / "nats")
        supervisor = await stack.enter_async_context(supervised(workers, environ, write_line, tolerant=tolerant))
        yield System(options, supervisor, loaded.misfits)


def declared(settings: Settings) -> tuple[Declared, ...]:
    """The streams and consumers that this code needs; raises StreamsFileError or CatalogError."""
    return wanted_of(settings, catalog.members(settings).values())


def wanted_of(settings: Settings, members: Iterable[Member]) -> tuple[Declared, ...]:
    """The streams and consumers of these contexts, and the bucket of their schemas; raises StreamsFileError."""
    topology = read_topology(settings.streams_file)
    return (*declare(topology, members), bucket(topology))


async def apply_streams(options: ConnectionOptions, settings: Settings) -> Applied:
    """Connect, and create or update the streams and consumers as declared."""
    options = login(options, OPERATOR, settings.seeds)
    return await _apply(options, declared(settings), catalog.members(settings).values(), set())


def _users_of(settings: Settings, loaded: Loaded) -> Mapping[str, Any]:
    """The configuration of a server that knows the users of all contexts that load, and nobody else."""
    known = users(read_topology(settings.streams_file), loaded.running)
    apply_keys(settings.seeds, known)
    return {"authorization": authorization(known, public_keys(settings.seeds))}


async def _apply(
    options: ConnectionOptions,
    wanted: Sequence[Declared],
    members: Iterable[Member],
    absent: Collection[str],
) -> Applied:
    broker = await connect(options, name="chorus streams apply")
    try:
        applied = await apply(broker.api, wanted, absent=absent)
        if not applied.refused:
            await write(broker, files_of(members, title=contexts_package()), complete=not absent)
        return applied
    finally:
        await broker.close()


def programs(loaded: Loaded, settings: Settings, copies: int = 1) -> tuple[ChildProgram, ...]:
    """The worker programs: `copies` for every context, and one for every group of a read side.

    A context that does not load has one program, which says why and is tried again. With CHORUS_METRICS_PORT each
    program has a metrics port of its own, counted up from that port.
    """
    named: list[tuple[str, tuple[str, ...]]] = []
    for name in sorted({*loaded.running, *loaded.broken}):
        if (side := loaded.read_sides.get(name)) is not None:
            named += [(place_of(name, group.name), (name, "--group", group.name)) for group in side.groups]
        else:
            numbers = range(1, copies + 1 if name in loaded.members else 2)
            named += [(name if number == 1 else f"{name}.{number}", (name,)) for number in numbers]
    first = settings.metrics_port
    return tuple(
        ChildProgram(
            program,
            (sys.executable, "-m", "shared.cli", "worker", *arguments),
            {} if first is None else {"CHORUS_METRICS_PORT": str(first + offset)},
        )
        for offset, (program, arguments) in enumerate(named)
    )


def own_environment(environ: Mapping[str, str], *, url: str, data_dir: Path) -> dict[str, str]:
    """The environment of workers on our own server, without any variable or nats context that names another."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("NATS_", "CHORUS_MONITOR_URL"))}
    return {**kept, "NATS_URL": url, "XDG_CONFIG_HOME": str(data_dir / "config"), "CHORUS_DATA_DIR": str(data_dir)}


def private_directory(path: Path) -> Path:
    """The absolute path of the directory; creates it for this user alone when it does not exist."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.absolute()
