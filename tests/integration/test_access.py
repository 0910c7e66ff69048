"""Keys as an operator handles them: a server that knows its users, denials that name them, rotation, contexts."""

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import nats
import pytest

from shared.access.directory import RIGHTS_FILE, USERS_FILE, apply, public_keys
from shared.access.export import write_contexts
from shared.access.login import login
from shared.access.of_system import users_of
from shared.access.roles import ROLES
from shared.access.server import authorization
from shared.adapters.jetstream import JetStream, connect
from shared.config.connection import ConnectionOptions, find_connection
from shared.config.exit_codes import Exit
from shared.config.settings import Settings
from shared.ports.broker import BrokerDeniedError, BrokerLoginError, Outgoing
from shared.run.server import LocalServer, local_server
from shared.run.system import apply_streams
from shared.wire.messages import MSG_ID, check_command_id
from tests.e2e.shop import NATS_CLI, environment
from tests.forking import run_chorus
from tests.integration.reloading import reload

USERS = users_of(Settings())


class Guarded(NamedTuple):
    """A server that knows the users of the shop, and has their streams."""

    server: LocalServer
    directory: Path

    @asynccontextmanager
    async def as_user(self, name: str) -> AsyncIterator[JetStream]:
        """A connection as one user."""
        options = login(ConnectionOptions(servers=(self.server.url,)), name, self.directory)
        broker = await connect(options, name="tests")
        try:
            yield broker
        finally:
            await broker.close()

    async def reload(self) -> None:
        """Give the server the present public keys, as an operator does, and wait until it has them."""
        await reload(self.server, {"authorization": authorization(USERS, public_keys(self.directory))})


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    directory = tmp_path / "access"
    apply(directory, USERS)
    more = {"authorization": authorization(USERS, public_keys(directory))}
    async with local_server(tmp_path / "nats", more=more) as server:
        await apply_streams(ConnectionOptions(servers=(server.url,)), Settings(data_dir=tmp_path))
        yield Guarded(server, directory)


def chorus(guarded: Guarded, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the keys of `guarded`."""
    environ = {**environment(guarded.server.url, guarded.directory.parent), **variables}
    command = [sys.executable, "-m", "shared.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


async def test_stranger_is_not_let_in(guarded: Guarded) -> None:
    with pytest.raises(BrokerLoginError):
        await connect(ConnectionOptions(servers=(guarded.server.url,)), name="tests")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("inventory", Outgoing("evt.payments.PaymentSucceeded.o-1", {}, b"{}")),
        ("producer", Outgoing("evt.shipping.OrderShipped.o-1", {}, b"{}")),
        ("tester", Outgoing("cmd.ordering.CancelOrder.o-1", {}, b"{}")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.subject,
)
async def test_forged_message_is_denied_at_once_by_the_server_s_word(
    guarded: Guarded, user: str, message: Outgoing
) -> None:
    async with guarded.as_user(user) as broker:
        with pytest.raises(BrokerDeniedError, match=f"user {user} may not publish to {message.subject}"):
            await broker.publish(message)
    async with guarded.as_user("tester") as broker:
        assert (await broker.stream_info("EVENTS")).messages == 0


async def test_refund_is_asked_for_by_payments_alone(guarded: Guarded) -> None:
    for user in ("ordering", "producer", "operator", "bank"):
        async with guarded.as_user(user) as broker:
            with pytest.raises(BrokerDeniedError, match=f"user {user} may not publish to svc.bank.refund"):
                await broker.request("svc.bank.refund", b"{}", {}, 1.0)


async def test_command_that_is_denied_names_user_subject_and_role_and_exits_77(guarded: Guarded) -> None:
    ended = chorus(guarded, "timeline", "o-1", "--nkey", str(guarded.directory / "producer.nk"))
    assert (ended.returncode, Exit.DENIED) == (77, 77)
    assert "user producer may not publish to $JS.API.STREAM.INFO.EVENTS" in ended.stderr
    assert "tester" in ended.stderr.partition(" may: connect as one of these")[0]
    sent = chorus(
        guarded, "send", "bank.OpenAccount", "a-1", "owner=ann", "--nkey", str(guarded.directory / "tester.nk")
    )
    assert sent.returncode == Exit.DENIED
    assert "user tester may not publish to cmd.bank.OpenAccount.a-1" in sent.stderr
    assert "bank and producer and frontend may: connect as one of these" in sent.stderr


async def test_producer_alone_is_told_of_a_duplicate_and_of_what_it_cannot_see(
    guarded: Guarded, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(guarded.directory / "producer.nk", tmp_path / "mine")
    words = ("send", "bank.OpenAccount", "a-1", "owner=ann", "--id", "once")
    first, again = [chorus(guarded, *words, CHORUS_ACCESS_DIR=str(tmp_path / "mine")) for _ in range(2)]
    assert (first.returncode, again.returncode) == (0, 0), (first.stderr, again.stderr)
    assert "has it already" in again.stdout
    assert "the id 'once' was used before; a producer cannot see whether for this command" in again.stderr


async def test_deleted_stream_is_denied_to_everybody_but_the_operator(guarded: Guarded) -> None:
    for user in (one.name for one in USERS if one.name != "operator"):
        async with guarded.as_user(user) as broker:
            with pytest.raises(BrokerDeniedError, match=r"may not publish to \$JS\.API\.STREAM\.DELETE\.EVENTS"):
                await broker.api("$JS.API.STREAM.DELETE.EVENTS", b"")


async def test_tester_reads_with_a_consumer_of_its_own_and_touches_no_other(guarded: Guarded) -> None:
    config = {"name": "mine", "ack_policy": "none", "inactive_threshold": 10**10}
    body = json.dumps({"stream_name": "EVENTS", "config": config}).encode()
    over = json.dumps({"stream_name": "EVENTS", "config": {**config, "name": "payments-0"}}).encode()
    async with guarded.as_user("tester") as broker:
        assert json.loads(await broker.api("$JS.API.CONSUMER.CREATE.EVENTS.mine", body))["name"] == "mine"
        # The name in the subject counts: a body cannot name another consumer.
        assert json.loads(await broker.api("$JS.API.CONSUMER.CREATE.EVENTS.mine", over))["name"] == "mine"
        for verb in ("CREATE", "DELETE", "RESET", "UNPIN", "MSG.NEXT"):
            with pytest.raises(BrokerDeniedError):
                await broker.api(f"$JS.API.CONSUMER.{verb}.EVENTS.payments-0", over)


async def test_stored_event_that_a_tester_has_delivered_as_a_command_keeps_an_id_that_no_command_may_have(
    guarded: Guarded,
) -> None:
    event = Outgoing("evt.ordering.OrderPlaced.o-1", {MSG_ID: "ordering/order-o-1@1"}, b'{"order_id": "o-1"}')
    async with guarded.as_user("ordering") as broker:
        await broker.publish(event)
    seed = str(guarded.directory / "tester.nk")
    client = await nats.connect(guarded.server.url, nkeys_seed=seed, inbox_prefix="_INBOX_tester")
    await client.publish("$JS.API.DIRECT.GET.EVENTS", b'{"seq": 1}', reply="cmd.ordering.CancelOrder.o-2")
    await client.close()
    async with guarded.as_user("tester") as broker:
        while (stored := await broker.get("COMMANDS", 1)) is None:
            pass
    assert stored.body == event.body
    with pytest.raises(ValueError, match="like the ids that Chorus gives"):
        check_command_id(stored.headers[MSG_ID])


async def test_key_is_rotated_without_a_message_lost(guarded: Guarded) -> None:
    message = Outgoing("cmd.ordering.CancelOrder.o-1", {}, b"{}")
    async with guarded.as_user("producer") as with_old:
        await with_old.publish(message)
        apply(guarded.directory, USERS, rotate=["producer"])
        await guarded.reload()
        await with_old.publish(message)
        async with guarded.as_user("producer") as with_new:
            await with_new.publish(message)
            apply(guarded.directory, USERS, retire=["producer"])
            await guarded.reload()
            await with_new.publish(message)
    async with guarded.as_user("tester") as broker:
        assert (await broker.stream_info("COMMANDS")).messages == 4


async def test_key_cannot_be_rotated_and_retired_at_once(tmp_path: Path) -> None:
    words = ("access", "apply", "--rotate", "ordering", "--retire", "ordering")
    ran = await run_chorus(*words, environ=environment("nats://127.0.0.1:1", tmp_path))
    assert (ran.code, "rotate first, and retire later" in ran.errors) == (Exit.USAGE, True)
    assert not (tmp_path / "access").exists()


async def test_server_takes_the_files_that_apply_has_written(tmp_path: Path) -> None:
    directory = tmp_path / "access"
    apply(directory, USERS)
    assert f"\ninclude {RIGHTS_FILE}\n" in (directory / USERS_FILE).read_text()
    configuration = f'listen: "127.0.0.1:-1"\ninclude access/{USERS_FILE}\n'
    (tmp_path / "nats.conf").write_text(configuration)
    checked = _check(tmp_path / "nats.conf")
    assert checked.returncode == 0, checked.stderr


def _check(configuration: Path) -> subprocess.CompletedProcess[str]:
    """Have the server read a configuration and end."""
    server = Path(sys.executable).with_name("nats-server")
    return subprocess.run([server, "-t", "-c", configuration], capture_output=True, text=True, check=False)


@pytest.mark.skipif(NATS_CLI is None, reason="no nats command here")
async def test_stock_nats_command_acts_as_a_role(guarded: Guarded, tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
    saved = dict(write_contexts(guarded.directory, USERS, guarded.server.url, environ))
    assert sorted(saved) == [f"chorus-{role}" for role in sorted(ROLES)]
    assert find_connection({**environ, "NATS_CONTEXT": "chorus-tester"}).acts_as == "tester"

    def nats(role: str, *words: Sequence[str] | str) -> subprocess.CompletedProcess[str]:
        assert NATS_CLI is not None
        command = [NATS_CLI, "--context", f"chorus-{role}", "--timeout=1s", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)

    sent = nats("producer", "pub", "-J", "cmd.ordering.CancelOrder.o-1", "{}")
    assert "Stored in Stream: COMMANDS" in sent.stderr + sent.stdout
    assert nats("producer", "pub", "-J", "evt.ordering.OrderPlaced.o-1", "{}").returncode == 1
    assert nats("tester", "stream", "info", "COMMANDS", "--json").returncode == 0
    assert nats("tester", "stream", "rm", "COMMANDS", "-f").returncode == 1
    assert nats("operator", "consumer", "info", "EVENTS", "payments-0", "--json").returncode == 0
