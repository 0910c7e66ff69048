"""The first connection when no server answers."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream

from shared.adapters.jetstream import connect
from shared.config.connection import ConnectionOptions
from shared.ports.broker import BrokerUnavailableError
from shared.run.server import LocalServer
from tests.unit.shared.cli.test_cli import UNUSED_PORT, chorus


class DeadServer:
    """A server that closes every connection, and counts them."""

    def __init__(self, port: int) -> None:
        self.url = f"nats://127.0.0.1:{port}"
        self.connections = 0

    async def answer(self, stream: SocketStream) -> None:
        self.connections += 1
        await stream.aclose()


@asynccontextmanager
async def dead_server() -> AsyncIterator[DeadServer]:
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", family=socket.AF_INET) as listener,
        anyio.create_task_group() as tasks,
    ):
        dead = DeadServer(listener.extra(anyio.abc.SocketAttribute.local_port))
        tasks.start_soon(listener.serve, dead.answer)
        yield dead
        tasks.cancel_scope.cancel()


async def test_command_tries_a_server_once() -> None:
    async with dead_server() as dead:
        with pytest.raises(BrokerUnavailableError, match=f"no answer from {dead.url}"):
            await connect(ConnectionOptions(servers=(dead.url,)), name="test")
        assert dead.connections == 1


async def test_command_tries_every_server_before_it_gives_up(nats_server: LocalServer) -> None:
    async with dead_server() as dead:
        broker = await connect(ConnectionOptions(servers=(dead.url, nats_server.url)), name="test")
        await broker.close()
        with pytest.raises(BrokerUnavailableError):
            await connect(ConnectionOptions(servers=(dead.url, UNUSED_PORT)), name="test")


async def test_worker_reports_at_once_that_it_waits_and_retries() -> None:
    reasons: list[tuple[str, int]] = []
    async with dead_server() as dead:

        def waiting(reason: str) -> None:
            reasons.append((reason, dead.connections))

        with pytest.raises(BrokerUnavailableError):
            await connect(ConnectionOptions(servers=(dead.url,)), name="test", waiting=waiting, within_s=1.0)
        assert [connections for _, connections in reasons] == [1]
        assert dead.connections > 2


def test_worker_without_a_server_reports_it_twice_and_exits_69() -> None:
    said = chorus("worker", "bank", "--server", UNUSED_PORT)
    assert said.returncode == 69
    first, last = said.stderr.splitlines()
    assert "broker away, waiting for it" in first
    assert "no answer from nats://127.0.0.1:1" in last
