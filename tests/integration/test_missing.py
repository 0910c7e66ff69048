"""A running worker names a consumer, stream or permission that is missing, and waits for it (R23)."""

import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from structlog.testing import capture_logs

from shared.adapters.clock import SystemClock
from shared.adapters.jetstream import connect
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.config.connection import ConnectionOptions
from shared.config.exit_codes import Exit
from shared.config.secrets import Secret
from shared.derived.topology import declare
from shared.engine.monitor.alarms import Alarm
from shared.engine.process import ContextProcess
from shared.ports.broker import BrokerLoginError
from shared.run.server import CONFIGURATION, LocalServer, local_server
from shared.streams.apply import apply
from shared.wire.messages import partition_of
from tests.e2e.shop import environment
from tests.integration.engine import PARTITIONS, TOPOLOGY, Counter, standing
from tests.integration.till import Printer, scanner, till
from tests.processes import spawn
from tests.waiting import WITHIN_S, until

TILLS = [next(f"t-{n}" for n in range(99) if partition_of(f"t-{n}", PARTITIONS) == p) for p in range(PARTITIONS)]
"""One till in each partition."""
PASSWORD: Final = "secret"
EVERYTHING: dict[str, Any] = {"publish": {"deny": ["nothing.>"]}, "subscribe": {"deny": ["nothing.>"]}}


@asynccontextmanager
async def at_work(counter: Counter, options: ConnectionOptions) -> AsyncIterator[ContextProcess]:
    """A till's process, which reads and decides until the block is left."""
    broker = await connect(options, name="till")
    process = ContextProcess(
        till(Printer()),
        await SqliteStore.open(counter.directory / "till.db", context="till"),
        broker,
        SystemClock(),
        numbers=range(PARTITIONS),
        partitions=PARTITIONS,
        priority_timeout_s=1.0,
        batch_at_most=1_000,
    )
    try:
        async with process.at_work() as tasks:
            tasks.start_soon(process.loop.run)
            await until(lambda: len(process.ownership.owned) == PARTITIONS, "the partitions are held")
            for key in TILLS:
                await counter.ring(key, 1)
                await counter.watcher.until(key, "Rung")
            yield process
    finally:
        with anyio.CancelScope(shield=True):
            await broker.close()


async def raised(process: ContextProcess, kind: str, subject: str) -> Alarm:
    """Wait until an alarm is raised."""

    def found() -> list[Alarm]:
        return [one for one in process.alarms.raised if (one.kind, one.subject) == (kind, subject)]

    try:
        await until(found, f"{kind} {subject}")
    except AssertionError as error:
        raise AssertionError(f"{error}; raised are {process.alarms.raised}") from None
    return found()[0]


async def goes_on(counter: Counter, process: ContextProcess, totals: Mapping[str, list[int]]) -> None:
    """Everything is decided once, and no alarm is left."""
    for key, expected in totals.items():
        await counter.watcher.until(key, "Rung", times=len(expected))
    await until(lambda: not process.alarms.raised, "no alarm is left")
    assert {key: counter.totals(key) for key in totals} == totals


class TestConsumers:
    """Deleted by an operator, and created again by `chorus streams apply`."""

    @pytest.fixture
    async def counter(self, account_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
        async with standing(account_url, tmp_path) as counter:
            yield counter

    @pytest.mark.parametrize("stream", ["EVENTS", "COMMANDS", "TIMERS"])
    async def test_one_that_is_missing_is_named_while_the_other_partition_goes_on(
        self, counter: Counter, stream: str
    ) -> None:
        one, other = TILLS
        with capture_logs() as lines:
            async with at_work(counter, ConnectionOptions(servers=(counter.url,))) as process:
                await counter.broker.api(f"$JS.API.CONSUMER.DELETE.{stream}.till-0", b"")
                alarm = await raised(process, "consumer", f"{stream}/till-0")
                assert alarm.remedy == "run chorus streams apply"
                assert "consumer not found" in alarm.reason
                for amount in (2, 3, 4):
                    await counter.ring(other, amount)
                    await counter.watcher.until(other, "Rung", times=amount)
                await counter.ring(one, 2)
                assert counter.totals(one) == [1]
                await apply(counter.broker.api, declare(TOPOLOGY, (till(), scanner())))
                await goes_on(counter, process, {one: [1, 3], other: [1, 3, 6, 10]})
        warnings = [line for line in lines if line["log_level"] in ("warning", "error")]
        assert len([line for line in warnings if line["event"] == "alarm raised"]) == 1, warnings
        assert len(warnings) <= 4, warnings

    async def test_all_of_a_context_are_named(self, counter: Counter) -> None:
        names = [f"{stream}/till-{number}" for stream in ("EVENTS", "COMMANDS", "TIMERS") for number in (0, 1)]
        async with at_work(counter, ConnectionOptions(servers=(counter.url,))) as process:
            for name in names:
                await counter.broker.api(f"$JS.API.CONSUMER.DELETE.{name.replace('/', '.')}", b"")
            for number in range(PARTITIONS):
                await raised(process, "consumer", f"TIMERS/till-{number}")
            for key in TILLS:
                await counter.ring(key, 2)
            await apply(counter.broker.api, declare(TOPOLOGY, (till(), scanner())))
            await goes_on(counter, process, {key: [1, 3] for key in TILLS})

    async def test_stream_that_is_missing_is_named_and_reconciled_when_it_is_back(self, counter: Counter) -> None:
        async with at_work(counter, ConnectionOptions(servers=(counter.url,))) as process:
            await counter.broker.api("$JS.API.STREAM.DELETE.EVENTS", b"")
            alarm = await raised(process, "consumer", "EVENTS/till-0")
            assert "stream not found" in alarm.reason
            await counter.ring(TILLS[0], 2)
            await apply(counter.broker.api, declare(TOPOLOGY, (till(), scanner())))
            await counter.watcher.release()
            await goes_on(counter, process, {TILLS[0]: [1, 3], TILLS[1]: [1]})


def users(permissions: Mapping[str, Any]) -> dict[str, Any]:
    """An operator who may do everything, and a till that may do this."""
    return {
        "authorization": {
            "users": [
                {"user": "operator", "password": PASSWORD},
                {"user": "till", "password": PASSWORD, "permissions": permissions},
            ]
        },
    }


def may_not(action: str, subject: str) -> dict[str, Any]:
    """All permissions but one."""
    return {**EVERYTHING, action: {"deny": ["nothing.>", subject]}}


class Guarded:
    """A counter whose till has the permissions that an operator gives."""

    def __init__(self, server: LocalServer, counter: Counter) -> None:
        self.counter = counter
        self._server = server

    def till(self) -> ConnectionOptions:
        return ConnectionOptions(servers=(self._server.url,), user="till", password=Secret(PASSWORD))

    async def give(self, permissions: Mapping[str, Any]) -> None:
        """Change the till's permissions, as an operator does under a running server."""
        file = anyio.Path(self._server.directory / CONFIGURATION)
        await file.write_text(json.dumps({**json.loads(await file.read_text()), **users(permissions)}))
        log = self._server.directory / "nats-server.log"
        before = log.read_text().count("Reloaded server configuration")
        os.kill(self._server.pid, signal.SIGHUP)
        await until(lambda: log.read_text().count("Reloaded server configuration") > before, log.read_text())


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with local_server(tmp_path / "nats", more=users(EVERYTHING)) as server:
        url = server.url.replace("//", f"//operator:{PASSWORD}@")
        async with standing(url, tmp_path, user="operator", password=PASSWORD) as counter:
            yield Guarded(server, counter)


class TestLogin:
    """Refused by the server: whose, and what to set, at once and with 78."""

    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[LocalServer]:
        async with local_server(tmp_path / "nats", more=users(EVERYTHING)) as server:
            yield server

    @pytest.mark.parametrize(
        ("login", "said"),
        [
            ({"user": "till", "password": Secret("wrong")}, "refuses user till .*; set NATS_USER and NATS_PASSWORD"),
            ({"token": Secret("wrong")}, "refuses the token .*; set NATS_TOKEN"),
            ({}, "refuses a connection without a login .*; set NATS_USER and NATS_PASSWORD, or NATS_CREDS"),
        ],
    )
    async def test_login_that_is_refused_is_named_with_what_to_set(
        self, server: LocalServer, login: dict[str, Any], said: str
    ) -> None:
        told: list[str] = []
        with pytest.raises(BrokerLoginError, match=said):
            await connect(ConnectionOptions(servers=(server.url,), **login), name="till", waiting=told.append)
        assert told == []

    @pytest.mark.parametrize("words", [("worker", "ordering"), ("streams", "plan")])
    async def test_wrong_password_ends_workers_and_commands_with_78(
        self, server: LocalServer, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        environ = {**environment(server.url, tmp_path), "NATS_USER": "till", "NATS_PASSWORD": "wrong"}
        process = await spawn("chorus", ("shared.cli", *words), environ, tmp_path / "chorus.log")
        assert await process.ended() == Exit.MISCONFIGURED
        assert f"{server.url} refuses user till" in process.tail
        assert "wrong" not in process.tail


class TestPermissions:
    """Taken away under a running worker, and given back."""

    async def test_publication_that_is_denied_waits_while_other_subjects_go_on(self, guarded: Guarded) -> None:
        counter = guarded.counter
        one, _ = TILLS
        with capture_logs() as lines:
            async with at_work(counter, guarded.till()) as process:
                await guarded.give(may_not("publish", "evt.till.Rung.>"))
                await counter.ring(one, 2)
                alarm = await raised(process, "permission", "evt.till.Rung.*")
                assert alarm.reason == f"user till may not publish to evt.till.Rung.{one}"
                assert alarm.remedy == "allow user till to publish to evt.till.Rung.* in the server's permissions"
                await counter.publish("cmd.till.PrintReceipt.t-other", b'{"text": "one at 1"}')
                await counter.watcher.until("t-other", "ReceiptPrinted")
                await guarded.give(EVERYTHING)
                await goes_on(counter, process, {one: [1, 3]})
        assert len([line for line in lines if line["event"] == "alarm raised"]) == 1

    @pytest.mark.parametrize(
        ("action", "denied", "subject"),
        [
            ("publish", "$JS.API.CONSUMER.RESET.EVENTS.*", "$JS.API.CONSUMER.RESET.EVENTS.till-0"),
            ("publish", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.*", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.till-0"),
            pytest.param(
                *("publish", "$JS.API.CONSUMER.MSG.NEXT.TIMERS.*", "$JS.API.CONSUMER.MSG.NEXT.TIMERS.till-0"),
                marks=pytest.mark.long,  # As for EVENTS.
            ),
            ("publish", "$JS.API.CONSUMER.INFO.>", "$JS.API.CONSUMER.INFO.TIMERS.till-0"),
            ("subscribe", "_INBOX.>", "_INBOX.>"),
        ],
    )
    async def test_permission_that_is_missing_to_read_is_named(
        self, guarded: Guarded, action: str, denied: str, subject: str
    ) -> None:
        counter = guarded.counter
        one, other = TILLS
        async with at_work(counter, guarded.till()) as process:
            await guarded.give(may_not(action, denied))
            await process.ownership.release(range(PARTITIONS))  # As when a process begins.
            alarm = await raised(process, "permission", subject)
            assert alarm.reason == f"user till may not {action} to {subject}"
            assert alarm.remedy == f"allow user till to {action} to {subject} in the server's permissions"
            await counter.ring(one, 2)
            await guarded.give(EVERYTHING)
            await goes_on(counter, process, {one: [1, 3], other: [1]})

    async def test_request_that_is_denied_fails_at_once_with_the_servers_words(self, guarded: Guarded) -> None:
        await guarded.give(may_not("publish", "$JS.API.STREAM.INFO.>"))
        broker = await connect(guarded.till(), name="till")
        try:
            with (
                anyio.fail_after(WITHIN_S),
                pytest.raises(Exception, match=r"till may not publish to \$JS.API.STREAM.INFO"),
            ):
                await broker.stream_info("EVENTS")
        finally:
            await broker.close()

    async def test_service_that_may_not_subscribe_is_named_and_subscribes_later(self, guarded: Guarded) -> None:
        counter = guarded.counter
        await guarded.give(may_not("subscribe", "api.till.Ring"))
        async with at_work(counter, guarded.till()) as process:
            await raised(process, "permission", "api.till.Ring")
            await guarded.give(EVERYTHING)
            await until(lambda: not process.alarms.raised, "no alarm is left")
            _, body = await counter.broker.request("api.till.Ring", b'{"till_id": "t-api", "amount": 5}', {}, 5.0)
            assert json.loads(body)["accepted"]

    async def test_worker_that_may_not_look_at_its_streams_exits_and_says_so(
        self, guarded: Guarded, tmp_path: Path
    ) -> None:
        await guarded.give(may_not("publish", "$JS.API.STREAM.INFO.>"))
        login = {"NATS_USER": "till", "NATS_PASSWORD": PASSWORD}
        environ = {**environment(guarded.till().servers[0], tmp_path), **login}
        worker = await spawn("ordering", ("contexts.ordering",), environ, tmp_path / "ordering.log")
        assert await worker.ended() == Exit.DENIED
        assert "user till may not publish to $JS.API.STREAM.INFO." in worker.tail
