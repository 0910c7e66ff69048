"""`chorus up`: a system on one machine, server and workers, until Ctrl-C."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter

from shared.cli.adapters import connected_to
from shared.cli.errors import CommandError, complain
from shared.cli.flags import HERE, Connection
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.catalog import CatalogError
    from shared.config.settings import Settings
    from shared.run.child_process import WriteLine
    from shared.run.system import System

DEFAULT_PORT = 4222

OwnServer: TypeAlias = Literal["open", "secure"] | None
"""Says whether the server that we started has users; None when we use another."""


def up(
    *,
    port: Annotated[int | None, Parameter(help="of the server that is started [default: 4222]")] = None,
    data: Annotated[Path | None, Parameter(help="for the server and the databases [CHORUS_DATA_DIR]")] = None,
    copies: Annotated[int, Parameter(help="workers of each context; they share its partitions")] = 1,
    secure: Annotated[bool, Parameter(negative="", show_default=False, help="the server knows its users only")] = False,
    console: Annotated[bool, Parameter(negative="", show_default=False, help="chorus console too")] = False,
    connection: Connection = HERE,
) -> int:
    """Run a server and every worker, until Ctrl-C.

    With connection flags, NATS_URL or a nats context it starts no server and uses
    that one. Streams are applied first. A server or a worker that dies or hangs is
    started again. A context that cannot start does not stop the others. Says when
    all are ready; SIGTERM or Ctrl-C stops all. Exit 64 or 78 when a context
    refuses to run at that moment; the last lines say which and why.

    For example:

        chorus up
        chorus up --console
        chorus up --port 4333 --data /tmp/chorus
        chorus up --secure
        chorus up --server nats://10.0.0.7:4222 --copies 2
    """
    import anyio

    from shared import catalog
    from shared.config.connection import find_connection

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
    if secure and port is None:
        raise CommandError(
            Exit.USAGE,
            "--secure is about a server that chorus up starts; give the rights of chorus access apply to yours",
        )
    settings = catalog.read_settings(environ)
    serve = _console(settings, connection) if console else None
    return anyio.run(_up, port, copies, secure, environ, settings.log_format, connection.variables(shown=True), serve)


async def _up(
    port: int | None,
    copies: int,
    secure: bool,
    environ: Mapping[str, str],
    log_format: str,
    flags: Mapping[str, str],
    serve: "Callable[[System], Coroutine[Any, Any, None]] | None",
) -> int:
    import anyio

    from shared.config import log
    from shared.run.refusals import code_of, describe_refusal
    from shared.run.system import open_system

    log.configure("error", "auto", context="up")
    write_line = _line_writer(log_format)
    began = anyio.current_time()
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with (
            open_system(
                environ, write_line=write_line, port=port, copies=copies, tolerant=True, secure=secure
            ) as system,
            anyio.create_task_group() as tasks,
        ):
            for name, error in system.left_out.items():
                write_line("chorus", _left_out(name, error))
            own_server: OwnServer = None if port is None else "secure" if secure else "open"
            tasks.start_soon(_announce, system, began, environ, flags, own_server)
            if serve is not None:
                tasks.start_soon(serve, system)
            async for _ in signals:
                break
            write_line("chorus", "stopping")
            tasks.cancel_scope.cancel()
    for name, error in system.left_out.items():
        write_line("chorus", _left_out(name, error))
    for name, refusal in system.supervisor.refusals.items():
        write_line("chorus", describe_refusal(name, refusal))
    code = code_of(system.supervisor.refusals)
    return Exit.MISCONFIGURED if code is Exit.OK and system.left_out else code


def _console(settings: "Settings", connection: Connection) -> "Callable[[System], Coroutine[Any, Any, None]]":
    """Bind the console's address; return what serves it beside a system. An error of it stops no worker."""
    from shared.cli.commands.console import check_installed, prepare

    check_installed()
    serve = prepare(settings, None, None, lambda lines: print("\n".join(lines), flush=True))

    async def beside(system: "System") -> None:
        try:
            await serve(connected_to(system.options, "console"), connection.nats)
        except Exception as error:
            complain(f"the console has ended, and the workers go on: {error}; start it again with chorus console")

    return beside


async def _announce(
    system: "System",
    began: float,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    own_server: OwnServer,
) -> None:
    """Print that the workers are ready, what to type in another terminal, and whom our own server lets in."""
    import anyio

    from shared import catalog

    await system.supervisor.ready_or_refused()
    took_s = anyio.current_time() - began
    url = ",".join(system.options.servers)
    refused = len(system.supervisor.refusals) + len(system.left_out)
    workers = len(system.supervisor.pids) + len(system.left_out)
    ready = f"{workers - refused} of {workers}" if refused else f"{workers}"
    first = _first_command()
    ready_text = f"ready after {took_s:.1f} s: {ready} workers on {url}; try"
    if needed := needed_elsewhere(system, environ, flags):
        export = shlex.join(["export", *(f"{name}={value}" for name, value in needed.items())])
        lines = [f"{ready_text} in another terminal:", f"  {export}", f"  {first}"]
    else:
        lines = [f"{ready_text}: {first}"]
    if own_server == "open":
        lines.append("this server is open: every program on this machine may say anything; see chorus up --secure")
    elif own_server == "secure":
        seeds = catalog.read_settings(environ).seeds
        lines.append(f"each command takes its key from {seeds}; for nats: chorus access export --format contexts")
    print("\n".join(lines), flush=True)


def _left_out(name: str, error: "CatalogError") -> str:
    return f"{name} is left out: {'; '.join(error.problems)}"


def _first_command() -> str:
    """A command line that works on an empty system, if the demo of the contexts declares one."""
    from shared import catalog

    demo = catalog.declared_in("demo", "DEMO")
    return "chorus send --help" if demo is None else str(demo.first_command)


def needed_elsewhere(system: "System", environ: Mapping[str, str], flags: Mapping[str, str]) -> Mapping[str, str]:
    """The variables by which commands in another terminal find this system; no password or token is among them."""
    from shared import catalog
    from shared.config.connection import DEFAULT_SERVER, find_connection
    from shared.config.settings import CONTEXTS_VARIABLE, Settings

    needed = dict(flags)
    if "NATS_URL" in needed or not {DEFAULT_SERVER} == set(system.options.servers) == set(
        find_connection(os.environ).servers
    ):
        needed["NATS_URL"] = ",".join(system.options.servers)
    if package := os.environ.get(CONTEXTS_VARIABLE):
        needed[CONTEXTS_VARIABLE] = package
    settings, defaults = catalog.read_settings(environ), Settings()
    if settings.data_dir != defaults.data_dir:
        needed["CHORUS_DATA_DIR"] = str(settings.data_dir.absolute())
    if settings.streams_file != defaults.streams_file:
        needed["CHORUS_STREAMS_FILE"] = str(settings.streams_file.absolute())
    return needed


def _line_writer(form: str) -> "WriteLine":
    """A printer of the workers' lines: unchanged for a program, with the worker's name in front for a person."""
    if form == "json" or (form == "auto" and not sys.stderr.isatty()):
        return _write_for_programs
    return _write_for_people


def _write_for_programs(name: str, line: str) -> None:
    text = json.dumps({"context": name, "level": "info", "event": line}) if name == "chorus" else line
    print(text, file=sys.stderr, flush=True)


def _write_for_people(name: str, line: str) -> None:
    print(f"{name:14}| {line}", file=sys.stderr, flush=True)
