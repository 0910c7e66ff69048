"""`.creds` files and a server with a resolver: logging in, revocation of retired keys, and the end of their time."""

import json
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import nats
import pytest

from shared.access.directory import apply, plan
from shared.access.export import write_jwts
from shared.access.login import login
from shared.access.of_system import users_of
from shared.adapters.jetstream import JetStream, connect
from shared.config.connection import ConnectionOptions
from shared.config.exit_codes import Exit
from shared.config.settings import Settings
from shared.ports.broker import BrokerDeniedError, BrokerLoginError
from shared.run.server import LocalServer, local_server
from tests.e2e.shop import environment
from tests.forking import run_chorus
from tests.integration.reloading import reload
from tests.waiting import until

USERS = users_of(Settings())


async def test_jwts_are_taken_by_a_server_with_a_resolver(tmp_path: Path) -> None:
    directory = tmp_path / "access"
    apply(directory, USERS)
    written = [file.name for file in write_jwts(directory, USERS)]
    assert written == ["resolver.conf", *(f"{user.name}.creds" for user in USERS)]
    more = _resolver(directory / "resolver.conf")
    async with local_server(tmp_path / "nats", more=more) as server:
        for user, may in (("operator", True), ("monitor", False)):
            options = login(
                ConnectionOptions(servers=(server.url,), creds=directory / f"{user}.creds"), "tester", tmp_path
            )
            assert options.acts_as == user
            broker = await connect(options, name="tests")
            try:
                assert await _may(broker, "$JS.API.STREAM.DELETE.EVENTS") is may
                assert await _may(broker, "$JS.API.INFO")
            finally:
                await broker.close()
    again = [file.read_text() for file in write_jwts(directory, USERS)[:1]]
    assert json.loads((directory / "trust.json").read_text())["operator"] not in again[0]


async def test_retired_key_ends_its_creds_file_once_the_server_has_the_new_resolver_file(tmp_path: Path) -> None:
    directory = tmp_path / "access"
    apply(directory, USERS)
    write_jwts(directory, USERS)
    (tmp_path / "old").mkdir()
    for user in ("ordering", "monitor"):
        shutil.copy(directory / f"{user}.creds", tmp_path / "old")
    assert plan(directory, USERS) == ()
    apply(directory, USERS, rotate=["ordering"])
    write_jwts(directory, USERS)
    resolver = directory / "resolver.conf"
    async with local_server(tmp_path / "nats", more=_resolver(resolver)) as server:
        old = str(tmp_path / "old" / "ordering.creds")
        with_old = await nats.connect(server.url, user_credentials=old, allow_reconnect=False, error_cb=_ignore)
        retired = apply(directory, USERS, retire=["ordering"])
        assert [(one.action, one.name) for one in retired] == [
            ("retire", "ordering"),
            ("write", "users.conf"),
            ("write", "resolver.conf"),
        ]
        await reload(server, _resolver(resolver))
        await until(lambda: not with_old.is_connected, "the server has ended the connection")
        await with_old.close()
        with pytest.raises(BrokerLoginError):
            await _log_in(server, tmp_path / "old" / "ordering.creds")
        for creds in (directory / "ordering.creds", tmp_path / "old" / "monitor.creds"):
            await _log_in(server, creds)
    assert plan(directory, USERS) == ()


async def test_context_that_comes_back_has_a_creds_file_again(tmp_path: Path) -> None:
    directory = tmp_path / "access"
    apply(directory, USERS)
    write_jwts(directory, USERS)
    without = tuple(user for user in USERS if user.name != "ordering")
    shutil.copy(directory / "ordering.creds", tmp_path / "old.creds")
    assert ("write", "resolver.conf") in [(one.action, one.name) for one in apply(directory, without)]
    apply(directory, USERS)
    write_jwts(directory, USERS)
    async with local_server(tmp_path / "nats", more=_resolver(directory / "resolver.conf")) as server:
        await _log_in(server, directory / "ordering.creds")
        with pytest.raises(BrokerLoginError):
            await _log_in(server, tmp_path / "old.creds")


async def _ignore(_: Exception) -> None:
    """The test sees the end of the connection itself."""


async def _log_in(server: LocalServer, creds: Path) -> None:
    broker = await connect(ConnectionOptions(servers=(server.url,), creds=creds), name="tests")
    await broker.close()


async def test_creds_file_ends_after_its_time(tmp_path: Path) -> None:
    directory = tmp_path / "access"
    apply(directory, USERS)
    write_jwts(directory, USERS, valid_for=timedelta(days=1))
    async with local_server(tmp_path / "nats", more=_resolver(directory / "resolver.conf")) as server:
        options = ConnectionOptions(
            servers=(server.url,), creds=directory / "monitor.creds", inbox_prefix="_INBOX_monitor"
        )
        broker = await connect(options, name="tests")
        await broker.close()
        write_jwts(directory, USERS, valid_for=timedelta(days=-1))
        with pytest.raises(BrokerLoginError, match=r"refuses the credentials in .*monitor\.creds"):
            await connect(options, name="tests")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--format", "jwt", "--valid-for", "0s"), "at least 1s"),
        (("--format", "jwt", "--valid-for", "soon"), "is not a duration"),
        (("--valid-for", "90d"), "add --format jwt"),
    ],
)
async def test_time_that_a_creds_file_cannot_have_is_refused(
    tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    ran = await run_chorus("access", "export", *words, environ=environment("nats://127.0.0.1:1", tmp_path))
    assert (ran.code, problem in ran.errors) == (Exit.USAGE, True), ran.errors


async def _may(broker: JetStream, subject: str) -> bool:
    try:
        await broker.api(subject, b"")
    except BrokerDeniedError:
        return False
    return True


def _resolver(file: Path) -> Mapping[str, object]:
    """The lines of resolver.conf as the JSON that `local_server` adds to its own."""
    line, operator, system, resolver, _, *accounts, _ = file.read_text().splitlines()
    assert resolver == "resolver: MEMORY"
    return {
        "max_control_line": int(line.partition(": ")[2]),
        "operator": operator.partition(": ")[2],
        "system_account": system.partition(": ")[2],
        "resolver": "MEMORY",
        "resolver_preload": dict(line.strip().split(": ") for line in accounts),
    }
