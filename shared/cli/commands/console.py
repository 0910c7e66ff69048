"""`chorus console`: shows the system in a browser, until Ctrl-C."""

import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from shared.cli.adapters import clock, databases, saga_reader
from shared.cli.errors import CommandError
from shared.cli.flags import HERE, OPERATOR, Connection
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from shared.cli.adapters import JetStream
    from shared.config.settings import Settings
    from shared.console.access import Access, Role

Serve: TypeAlias = "Callable[[AbstractAsyncContextManager[JetStream], Callable[..., str]], Coroutine[Any, Any, None]]"
"""Serves with a connection, and with what spells the commands of the nats CLI."""

NEEDED = ("starlette", "uvicorn", "sse_starlette", "jinja2")


def console(
    *,
    host: Annotated[str | None, Parameter(help="answer on this address [CHORUS_CONSOLE_HOST]")] = None,
    port: Annotated[int | None, Parameter(help="answer on this port; 0 is any [CHORUS_CONSOLE_PORT]")] = None,
    connection: Connection = HERE,
) -> None:
    """Show the system in a browser, until Ctrl-C.

    Prints two links that log in: one for readers, one for operators, who may also
    retry and skip parked messages. CHORUS_CONSOLE_OPERATORS and ..._READERS give
    people tokens of their own. It answers on this machine only, unless --host says
    otherwise; with CHORUS_CONSOLE_CERT and ..._KEY it speaks TLS. Parked messages
    and aggregates are those of the databases in CHORUS_DATA_DIR.

    For example:

        chorus console
        chorus console --port 8080 --server nats://10.0.0.7:4222
    """
    from shared import catalog
    from shared.cli.interrupt import run_until_interrupted

    check_installed()
    settings = catalog.read_settings(os.environ)
    serve = prepare(settings, host, port, show)
    run_until_interrupted(lambda: serve(connection.connected("console", OPERATOR), connection.nats))


def check_installed() -> None:
    """Raise CommandError unless the packages of the extra are there."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise CommandError(
            Exit.USAGE, f"the console needs {', '.join(missing)}: pip install '.[console]' in a checkout of Chorus"
        )


def prepare(settings: "Settings", host: str | None, port: int | None, tell: Callable[[Sequence[str]], None]) -> "Serve":
    """Bind the address, and return what serves until it is cancelled; it tells the links first. Raises CommandError."""
    from shared import catalog
    from shared.config import log
    from shared.console.access import ROLES, Access, people_in
    from shared.console.console import Console
    from shared.console.serve import AddressTakenError, bind, serve
    from shared.console.sources import Sources
    from shared.console.tls import certificate

    access = Access(people_in(settings))
    tls = certificate(settings)
    try:
        listener = bind(host or settings.console_host, settings.console_port if port is None else port)
    except (AddressTakenError, OverflowError) as error:
        raise CommandError(Exit.USAGE, f"{error}; choose another with --host and --port") from error
    at, number = listener.getsockname()[:2]
    address = f"{'http' if tls is None else 'https'}://{f'[{at}]' if ':' in at else at}:{number}"

    differences = differing(settings)

    async def work(connected: "AbstractAsyncContextManager[JetStream]", nats: Callable[..., str]) -> None:
        async with connected as broker:
            log.configure("warning", settings.log_format, context="console")
            sources = Sources(
                settings=settings,
                broker=broker,
                databases=databases(settings),
                clock=clock(),
                reader=saga_reader(settings),
                nats=nats,
                differences=lambda: differences(broker),
                journals=catalog.names(),
            )
            console = Console(sources, access, cookie=f"chorus-console-{number}")
            lines = [f"{role + ':':10}{login(address, access, role)}" for role in ROLES]
            await serve(console, listener, lambda: tell([f"the console answers on {address}", *lines]), tls=tls)

    return work


def login(address: str, access: "Access", role: "Role") -> str:
    """The link that logs in with the token of a role; a named person has got a token already."""
    names = [person.name for person in access.people if person.role == role and person.name]
    if names:
        return f"{address}/login, with the token of {' or '.join(names)}"
    return f"{address}/login#token={access.of_role(role).token}"


def differing(settings: "Settings") -> Callable[["JetStream"], Awaitable[Sequence[str]]]:
    """Return what compares the broker and streams.yaml with the code, as `chorus streams plan` does.

    It leaves out the subjects of contexts that cannot be loaded. Then it compares neither schemas nor the choreography.
    """
    from functools import cache

    from shared import catalog
    from shared.cli.commands.streams import bucket_lines
    from shared.ports.broker import BrokerRefusedError
    from shared.run.system import wanted_of
    from shared.schemas.bucket import differing as schemas_differing
    from shared.schemas.files import files_of
    from shared.streams.apply import plan
    from shared.streams.choreography import is_current
    from shared.streams.drift import describe
    from shared.wire.streams import SCHEMAS_STREAM

    loaded = catalog.load_all(settings)
    absent = {*loaded.broken, *loaded.misfits}

    @cache
    def schemas() -> "Mapping[str, bytes]":
        return files_of(loaded.running.values(), title=settings.contexts)

    compared: dict[int, Sequence[str]] = {}

    async def bucket(broker: "JetStream") -> Sequence[str]:
        """Compare the schemas when the bucket has got something since the last look: there are hundreds of them."""
        try:
            last = (await broker.stream_info(SCHEMAS_STREAM)).last_sequence
        except BrokerRefusedError:
            return ()  # The plan says that it has to be created.
        if last not in compared:
            compared.clear()
            compared[last] = bucket_lines(await schemas_differing(broker, schemas()))
        return compared[last]

    async def differences(broker: "JetStream") -> Sequence[str]:
        wanted = wanted_of(settings, loaded.running.values())
        lines = [line for change in await plan(broker.api, wanted, absent) for line in describe(change)]
        if not absent:
            lines += await bucket(broker)
        if not absent and not is_current(settings.streams_file, loaded.running):
            lines.append(f"{settings.streams_file}: its choreography differs from the code; run chorus streams write")
        return lines

    return differences


def show(lines: Sequence[str]) -> None:
    """Print the address and the links."""
    from shared.cli.output import show_lines

    show_lines(lines)
