"""Runs one process of one context: connects, checks streams and settings, decides until a signal, and drains."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import structlog

from shared import catalog
from shared.adapters.clock import SystemClock
from shared.adapters.jetstream import JetStream, connect
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.config import log
from shared.config.connection import ConnectionOptions, ConnectionOptionsError
from shared.config.exit_codes import Exit
from shared.config.settings import Settings, SettingsError
from shared.context import Context, Member
from shared.engine import failpoints
from shared.engine.process import ContextProcess, MisconfiguredError, check_streams
from shared.ports.broker import BrokerDeniedError, BrokerError, BrokerLoginError, BrokerUnavailableError
from shared.ports.store import DatabaseError
from shared.readside.group import ReadSide, place_of
from shared.run.healthz import watch_health
from shared.run.server import ServerError, check_sync_always
from shared.streams.file import StreamsFileError, read_topology
from shared.worker import interpreter
from shared.worker.groups import run_groups
from shared.worker.health_file import HealthFile
from shared.worker.lifecycle import once_free, stop_on_signal_or_disconnect
from shared.worker.notify import Notifier
from shared.worker.pulse import Pulse
from shared.worker.tracing import traced
from shared.worker.watchdog import ENDS_AFTER_S, Watchdog

OWNED_WITHIN_S = 10.0
"""After this time a worker reports ready even if it lacks some of its partitions; it still gets them later."""

_log = structlog.get_logger("chorus.worker")


async def run_worker(
    name: str,
    *,
    settings: Settings,
    connection: ConnectionOptions,
    partitions: tuple[int, ...] | None,
    group: str | None = None,
) -> int:
    """Run a context or read side of the catalog until SIGTERM, SIGINT or a fatal error; return the exit code."""
    return await run_member(
        name,
        lambda: catalog.load_member(name, settings),
        settings=settings,
        connection=connection,
        partitions=partitions,
        group=group,
    )


async def run_member(
    name: str,
    load: Callable[[], Member],
    *,
    settings: Settings,
    connection: ConnectionOptions,
    partitions: tuple[int, ...] | None = None,
    group: str | None = None,
    ends_after_s: float = ENDS_AFTER_S,
) -> int:
    """Run the context or read side from `load` until SIGTERM, SIGINT or a fatal error; return the exit code.

    `group` is the one group to run of a read side; without it all of them run in this process.
    """
    log.configure(settings.log_level, settings.log_format, context=name)
    interpreter.tune()
    if settings.failpoint:
        failpoints.arm(settings.failpoint)
    try:
        member = load()
        async with (
            _connected(connection, name) as broker,
            _pulsing(name if group is None else place_of(name, group), settings.data_dir, ends_after_s) as pulse,
        ):
            if isinstance(member, ReadSide):
                await run_groups(member, group, broker, settings, pulse)
            else:
                await _run_context(member, broker, settings, partitions, pulse)
    except BrokerError as error:
        return _broker_error(error)
    except catalog.CatalogError as error:
        for raised in error.raised:
            _log.error("the context raised", exc_info=(type(raised), raised, catalog.users_frames(raised)))
        _log.error("bad configuration", reason=str(error))
        return Exit.MISCONFIGURED
    except (
        MisconfiguredError,
        DatabaseError,
        ServerError,
        ConnectionOptionsError,
        SettingsError,
        StreamsFileError,
    ) as error:
        _log.error("bad configuration", reason=str(error))
        return Exit.MISCONFIGURED
    except BaseExceptionGroup as group:
        return _exit_code(group)
    except Exception as error:
        _log.error("stopped by a fault", exc_info=error)
        return Exit.INTERNAL
    return Exit.OK


def _exit_code(group: BaseExceptionGroup[BaseException]) -> int:
    for error in _leaves(group):
        if isinstance(error, DatabaseError):
            _log.error("bad configuration", reason=str(error))
            return Exit.MISCONFIGURED
        if isinstance(error, BrokerError):
            return _broker_error(error)
    _log.error("stopped by a fault", exc_info=group)
    return Exit.INTERNAL


def _broker_error(error: BrokerError) -> int:
    """Log why the worker ends; return its exit code, by which a supervisor knows whether a restart helps."""
    match error:
        case BrokerDeniedError():
            _log.error("permission missing", reason=f"{error}; run chorus access apply and reload the server")
            return Exit.DENIED
        case BrokerLoginError():
            _log.error("login refused", reason=str(error))
            return Exit.MISCONFIGURED
        case _:
            _log.error("broker away", reason=str(error))
            return Exit.BROKER_AWAY


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


@asynccontextmanager
async def _connected(connection: ConnectionOptions, name: str) -> AsyncIterator[JetStream]:
    def waiting(reason: str) -> None:
        _log.warning("broker away, waiting for it", servers=connection.servers, reason=reason)

    broker = await connect(connection, name=f"chorus {name}", waiting=waiting)
    try:
        yield broker
    finally:
        await broker.close()


@asynccontextmanager
async def _pulsing(name: str, data_dir: Path, ends_after_s: float) -> AsyncIterator[Pulse]:
    """Report once a second that this process lives, also while it starts and while it drains."""
    watchdog = Watchdog(ends_after_s=ends_after_s)
    pulse = Pulse(name, Notifier.from_environment(), HealthFile(data_dir, name), watchdog)
    failed: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pulse.run)
        try:
            yield pulse
        except Exception as error:
            failed = error  # Raised below and not within a group, because the exit code follows from its type.
        tasks.cancel_scope.cancel()
    if failed is not None:
        raise failed


async def _run_context(
    context: Context, broker: JetStream, settings: Settings, partitions: tuple[int, ...] | None, pulse: Pulse
) -> None:
    await check_sync_always(settings.monitor_url)
    topology = read_topology(settings.streams_file)
    numbers = partitions if partitions is not None else tuple(range(topology.partitions))
    await check_streams(context, broker, topology.partitions, numbers)
    if context.before_open is not None:
        await once_free(partial(context.before_open, settings.data_dir, topology.partitions), SystemClock())
    store = await once_free(partial(SqliteDatabases(settings.data_dir).open, context.name), SystemClock())
    with traced(context.name, broker, SystemClock(), traces_per_s=settings.traces_per_s) as (traced_broker, tracing):
        process = pulse.process = ContextProcess(
            context,
            store,
            traced_broker,
            SystemClock(),
            numbers=numbers,
            partitions=topology.partitions,
            priority_timeout_s=topology.consumers.priority_timeout.total_seconds(),
            batch_at_most=settings.batch_at_most,
            records_inputs=settings.record_inputs,
            tracing=tracing,
        )
        if settings.metrics_port is not None:
            from shared.engine.metrics import serve_metrics  # A tenth of a worker's imports, which few need.

            serve_metrics(process, settings.metrics_host, settings.metrics_port)
        async with process.at_work() as tasks:
            tasks.start_soon(stop_on_signal_or_disconnect, broker.closed, process.loop)
            tasks.start_soon(_report_ready, process, pulse)
            if settings.monitor_url is not None:
                tasks.start_soon(watch_health, process.alarms, settings.monitor_url)
            interpreter.keep_all()
            await process.loop.run()
            pulse.stopping()
            await process.drain(settings.drain_timeout.total_seconds())
    if broker.closed.is_set():
        raise BrokerUnavailableError("the client closed the connection for good")


async def _report_ready(process: ContextProcess, pulse: Pulse) -> None:
    """Report ready once the context reads every partition, in this process or another."""
    await process.ownership.wait_until_owned(OWNED_WITHIN_S)
    pulse.ready()
    _log.info("ready", owned=process.ownership.owned)
