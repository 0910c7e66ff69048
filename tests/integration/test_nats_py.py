"""nats-py as `shared.adapters.jetstream.nats_py` expects it: each defect on the stock client, none on the patched one.

The numbers are those of that module's docstring. A test that fails here says that nats-py has changed: delete the
workaround of a defect that is gone; adapt the one that uses a changed private name.
"""

import asyncio
import importlib.util
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import nats.aio.client
import nats.aio.subscription
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.micro.request import Request
from nats.protocol import parser as patched_parser

from shared.adapters import jetstream
from shared.adapters.jetstream.client import JetStreamClient
from shared.adapters.jetstream.conversions import PORT_ERRORS
from shared.adapters.jetstream.nats_py import (
    CONNECTION_ERRORS,
    ConnectAbortedError,
    PatchedClient,
    Received,
    denied_in,
    reply_of,
)
from shared.ports.broker import BrokerUnavailableError
from shared.run.server import LocalServer
from tests.unit.shared.cli.test_cli import UNUSED_PORT

WITHIN_S = 5.0

OVERRIDDEN = {
    "_attempt_reconnect": "(self)",
    "_connect_to_server": "(self, s)",
    "_process_msg": "(self, sid, subject, reply, data, headers)",
    "_process_headers": "(self, headers)",
    "_build_message": "(self, sid, subject, reply, data, headers)",
    "_remove_sub": "(self, sid, max_msgs)",
}
CALLED = {
    "_send_command": "(self, cmd, priority)",
    "_flush_pending": "(self, force_flush)",
    "_send_subscribe": "(self, sub)",
}
ATTRIBUTES = (
    "_pending",
    "_pending_data_size",
    "_subs",
    "_id",
    "_transport",
    "_io_writer",
    "_reconnection_task",
    "_msg",
)


def parameters(function: Callable[..., object]) -> str:
    return f"({', '.join(inspect.signature(function).parameters)})"


@pytest.mark.parametrize(("name", "expected"), (OVERRIDDEN | CALLED).items())
def test_private_method_is_there_and_takes_what_it_took(name: str, expected: str) -> None:
    assert hasattr(Client, name), f"nats-py has no {name} any more"
    assert parameters(getattr(Client, name)) == expected


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_private_method_is_still_called_by_nats_py(name: str) -> None:
    modules = (nats.aio.client, nats.aio.subscription, patched_parser)
    sources = (inspect.getsource(module) for module in modules)
    assert any(f".{name}(" in source for source in sources), f"nothing in nats-py calls {name} any more"


async def test_private_attributes_are_there_and_hold_what_they_held(nats_server: LocalServer) -> None:
    client = Client()
    await client.connect(nats_server.url)
    subscription = await client.subscribe("anything")
    try:
        assert isinstance(client._pending, list)
        assert isinstance(client._pending_data_size, int)
        assert client._subs == {subscription._id: subscription}
        assert isinstance(subscription, Subscription)
        assert isinstance(client._transport, TcpTransport)
        assert isinstance(client._transport._io_writer, asyncio.StreamWriter)
    finally:
        await client.close()


def test_no_other_module_uses_a_private_name_of_nats_py() -> None:
    private = re.compile(
        r"(?<!self)\._(?:" + "|".join(name[1:] for name in (*OVERRIDDEN, *CALLED, *ATTRIBUTES)) + r")\b"
    )
    modules = Path(jetstream.__path__[0]).glob("*.py")
    assert [path.name for path in modules if private.search(path.read_text())] == ["nats_py.py"]


def test_1_stock_parser_ends_a_subject_at_a_form_feed() -> None:
    spec = importlib.util.find_spec("nats.protocol.parser")
    assert spec is not None
    assert spec.loader is not None
    stock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stock)
    for name, line in (("MSG_RE", b"MSG a\x0cb 7 0\r\n"), ("HMSG_RE", b"HMSG a\x0cb 7 12 12\r\n")):
        assert (found := getattr(stock, name).match(line)) is None or found[1] == b"a"
        patched = getattr(patched_parser, name).match(line)
        assert (patched[1], patched[2]) == (b"a\x0cb", b"7")
        assert f"{name}.match(" in inspect.getsource(patched_parser.Parser)


HARMFUL = {
    "subject": b"PUB harmful.\xff 0\r\n\r\n",
    "reply": b"PUB harmful.reply \xff 0\r\n\r\n",
    "status": b"HPUB harmful.status 19 19\r\nNATS/1.0 500 \xff\xff\r\n\r\n\r\n",
}


@pytest.mark.parametrize("frame", HARMFUL.values(), ids=HARMFUL.keys())
async def test_2_message_that_is_not_utf8_ends_the_read_loop_of_the_stock_client(
    nats_server: LocalServer, frame: bytes
) -> None:
    assert await ends_read_loop(frame, Client(), nats_server)
    assert not await ends_read_loop(frame, PatchedClient(), nats_server)


async def ends_read_loop(frame: bytes, client: Client, server: LocalServer) -> bool:
    """Whether the client reads nothing more after this message; otherwise it reads the next one."""
    read_next = asyncio.Event()

    async def on_message(message: Msg) -> None:
        if message.subject == "harmful.next":
            read_next.set()

    await client.connect(server.url)
    try:
        await client.subscribe("harmful.>", cb=on_message)
        await client._send_command(frame)
        await client.publish("harmful.next")
        assert client._reading_task is not None
        reading, waiting = client._reading_task, asyncio.create_task(read_next.wait())
        done, _ = await asyncio.wait((reading, waiting), timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert done, "the message did not arrive"
        return reading in done
    finally:
        await client.close()


async def test_3_stored_header_named_status_is_no_status(nats_server: LocalServer) -> None:
    received: asyncio.Queue[Received] = asyncio.Queue()
    received_by_stock: asyncio.Queue[Msg] = asyncio.Queue()
    stock, patched = Client(), PatchedClient()
    await stock.connect(nats_server.url)
    await patched.connect(nats_server.url)
    try:
        await stock.subscribe("headers.stock", cb=received_by_stock.put)
        await patched.listen("headers.patched", received.put_nowait)
        await stock.publish("headers.stock", b"", headers={"Status": "503", "Other": "kept"})
        await patched.publish("headers.patched", b"", headers={"Status": "503", "Other": "kept"})
        async with asyncio.timeout(WITHIN_S):
            assert (await received_by_stock.get()).headers == {"Status": "503", "Other": "kept"}
            assert (await received.get()).headers == {"Other": "kept"}
    finally:
        await stock.close()
        await patched.close()


@pytest.mark.parametrize(("make", "resent"), [(Client, 1), (PatchedClient, 0)], ids=["stock", "patched"])
async def test_4_stock_client_sends_what_the_old_connection_left_unsent(
    nats_server: LocalServer, make: type[Client], resent: int
) -> None:
    """The client that sends is subscribed as well, and counts what comes back before a last message."""
    received: asyncio.Queue[Msg] = asyncio.Queue()
    reconnected = asyncio.Event()

    async def on_reconnected() -> None:
        reconnected.set()

    client = make()
    await client.connect(nats_server.url, reconnected_cb=on_reconnected)
    try:
        await client.subscribe("unsent.>", cb=received.put)
        client._pending.append(b"PUB unsent.old 0\r\n\r\n")
        await client.force_reconnect()
        async with asyncio.timeout(WITHIN_S):
            await reconnected.wait()
            await client.publish("unsent.last")
            subjects = [(await received.get()).subject]
            while subjects[-1] != "unsent.last":
                subjects.append((await received.get()).subject)
    finally:
        await client.close()
    assert subjects.count("unsent.old") == resent


def test_4_stock_client_waits_for_the_old_connection() -> None:
    """tests/integration/test_dead_line.py shows that the patched one does not."""
    assert "await self._transport.wait_closed()" in inspect.getsource(Client._attempt_reconnect)


async def test_5_connect_retries_until_the_error_callback_raises() -> None:
    attempts = 0

    async def on_error(error: Exception) -> None:
        del error
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            raise ConnectAbortedError

    with pytest.raises(ConnectAbortedError):
        await Client().connect(UNUSED_PORT, error_cb=on_error, max_reconnect_attempts=-1, reconnect_time_wait=0)


async def test_6_permission_error_comes_in_lower_case(nats_server: LocalServer) -> None:
    errors: list[Exception] = []

    async def on_error(error: Exception) -> None:
        errors.append(error)

    client = Client()
    await client.connect(nats_server.url, error_cb=on_error)
    await client._ps.parse(b"-ERR 'Permissions Violation for Publish to \"evt.till.Rung.t-1\"'\r\n")
    await client.close()
    (error,) = errors
    assert denied_in(error) == ("publish", "evt.till.rung.t-1")


def test_8_nats_py_has_no_public_names_like_ours() -> None:
    ours = {name for part in (PatchedClient, JetStreamClient) for name in vars(part) if not name.startswith("_")}
    assert [name for name in ours if hasattr(Client, name)] == []


def test_9_uvloop_raises_a_runtime_error_when_the_connection_is_gone(nats_server: LocalServer) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def write_too_late() -> None:
        where = urlsplit(nats_server.url)
        _, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.transport.abort()
        await asyncio.sleep(0)
        writer.write(b"PING\r\n")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(CONNECTION_ERRORS) as raised:
        runner.run(write_too_late())
    assert raised.type is RuntimeError
    with pytest.raises(BrokerUnavailableError), PORT_ERRORS:
        raise raised.value


async def tries_again_once_closed(client: Client, server: LocalServer) -> bool:
    """Whether a client still connects after `close`, whose cancellation came with a refused connection."""
    tries = asyncio.Queue[int]()

    async def connect(*_: object, **__: object) -> None:
        tries.put_nowait(1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if tries.qsize():
                raise
            raise ConnectionRefusedError from None  # As asyncio.wait_for does.

    await client.connect(server.url, reconnect_time_wait=0, error_cb=ignore)
    transport = client._transport
    assert isinstance(transport, TcpTransport)
    assert transport._io_writer is not None
    transport.connect = connect  # type: ignore[method-assign]
    transport._io_writer.transport.abort()
    await asyncio.wait_for(tries.get(), WITHIN_S)
    task = client._reconnection_task
    assert task is not None
    await client.close()
    again = asyncio.create_task(tries.get())
    await asyncio.wait([task, again], timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    found = again.done()
    again.cancel()
    tries.put_nowait(1)
    task.cancel()
    await asyncio.wait([task])
    return found


async def ignore(error: Exception) -> None:
    del error


async def test_10_closed_stock_client_reconnects_when_its_cancellation_is_lost(nats_server: LocalServer) -> None:
    assert await tries_again_once_closed(Client(), nats_server)
    assert not await tries_again_once_closed(PatchedClient(), nats_server)


def test_11_reply_subject_of_a_service_request_is_not_public() -> None:
    request = Request(Msg(Client(), subject="svc.here.do", reply="_INBOX.1"))
    assert not hasattr(request, "reply")
    assert reply_of(request) == "_INBOX.1"
