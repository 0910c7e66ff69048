"""An allowed call is not only not denied: a server with the streams of the shop answers it, and so does each service.

`test_permissions.py` shows that all else is denied. The contexts answer requests here as their workers do, by the right
to answer each request once.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.derived.topology import PRIORITY_GROUP
from shared.run.server import LocalServer, local_server
from shared.run.system import apply_streams
from shared.wire.messages import partition_of
from tests.guarded import guard
from tests.integration.test_permissions import CONTEXTS, SIDE, USERS, connected, judged, may_publish, published

WITHIN_S = 5.0
FOREIGN = ("payments-0", "inventory-3", "bank-1", "insights-projection")
CHANGES = ("CREATE", "DURABLE.CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE", "PAUSE")
"""The verbs that need an order; `TestChanges` has them."""
NOT_LONG_NS = 10**7
EMPTY = ("404", "408")
"""The statuses of a stream without such a message, and of a consumer without one for now."""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[LocalServer]:
    """A server with users, streams, one message in each stream, and the contexts as services."""
    async with local_server(tmp_path / "nats", more=guard(tmp_path)) as server, AsyncExitStack() as stack:
        await apply_streams(ConnectionOptions(servers=(server.url,)), Settings(data_dir=tmp_path, access_dir=tmp_path))
        for name in (*CONTEXTS, SIDE):
            client, _ = await stack.enter_async_context(connected(server, tmp_path, name))
            for subject in _answered(name):
                await client.subscribe(subject, cb=_answer)
            await client.flush()
        yield server


def _answered(name: str) -> Iterator[str]:
    yield from (f"api.{name}.*", *([f"api.{name}.any.*"] if name == SIDE else []))
    if name in CONTEXTS:
        yield from ("$SRV.PING", f"$SRV.STATS.{name}", f"$SRV.INFO.{name}.*")
        yield from (f"svc.{name}.*" for _ in CONTEXTS[name].endpoints[:1])


async def _answer(request: Msg) -> None:
    await request.respond(b"{}")


def calls(user: str) -> Iterator[str]:
    """The allowed subjects of the matrix to which somebody here has to answer."""
    for subject in filter(may_publish(user).__contains__, dict.fromkeys(published())):
        kind, *rest = subject.split(".")
        if (kind == "evt" and len(rest) == 4) or (kind == "cmd" and rest[1] in ("Some", "Command", "None")):
            continue  # No stream takes it.
        if kind == "$JS":
            verb = subject.removeprefix("$JS.API.")
            if rest[0] == "ACK" or "MIRROR" in rest or ".mine" in verb:
                continue  # Nothing answers an acknowledgement, and both are made elsewhere in this file.
            if any(f".{change}." in f".{verb}." for change in CHANGES):
                continue
            if any(name in rest for name in FOREIGN) and not _exists(rest):
                continue
        yield subject


def _exists(words: list[str]) -> bool:
    """Whether the shop has this consumer."""
    stream, consumer = next(pair for pair in pairwise(words) if pair[1] in FOREIGN)
    of, _, _ = consumer.partition("-")
    if of == SIDE:
        return stream == "EVENTS"
    return stream in ("COMMANDS", "TIMERS") or (stream == "EVENTS" and of != "bank")


def body_of(subject: str) -> bytes:
    """A body with which the call makes sense."""
    bodies: Mapping[str, Any] = {
        ".DIRECT.GET.": {"seq": 1},
        ".STREAM.MSG.GET.": {"seq": 1},
        ".CONSUMER.MSG.NEXT.": {"batch": 1, "expires": NOT_LONG_NS, "group": PRIORITY_GROUP},
        ".CONSUMER.RESET.": {"seq": 1},
        ".CONSUMER.UNPIN.": {"group": PRIORITY_GROUP},
    }
    is_of_a_subject = ".DIRECT.GET." in subject and subject.count(".") > 4
    found = next((body for part, body in bodies.items() if part in subject and not is_of_a_subject), None)
    return b"" if found is None else json.dumps(found).encode()


async def ask(client: Client, subject: str, body: bytes) -> Msg:
    """The answer to a request. A pulled message keeps its subject, so nats-py's own `request` would not know it."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    try:
        await client.publish(subject, body, reply=inbox)
        return await answers.next_msg(WITHIN_S)
    finally:
        await answers.unsubscribe()


async def problem(client: Client, subject: str, body: bytes) -> str:
    """Why a call does not succeed; empty when it does."""
    try:
        answer = await ask(client, subject, body)
    except nats.errors.TimeoutError:
        return f"{subject}: no answer"
    if status := (answer.headers or {}).get("Status", ""):
        return "" if status in EMPTY else f"{subject}: {answer.headers}"
    if ".DIRECT.GET." in subject or ".MSG.NEXT." in subject:
        return ""
    content = json.loads(answer.data or b"{}")
    return f"{subject}: {content['error']}" if "error" in content else ""


async def test_every_allowed_call_is_answered(shop: LocalServer, tmp_path: Path) -> None:
    found: dict[str, list[str]] = {}
    asked = 0
    for user in USERS:
        async with connected(shop, tmp_path, user) as (client, denied):
            subjects = list(calls(user))
            asked += len(subjects)
            problems = [await problem(client, subject, body_of(subject)) for subject in subjects]
            found[user] = [*filter(None, problems), *(f"denied: {subject}" for _, subject in denied)]
    assert found == {user: [] for user in USERS}
    assert asked > 300


async def succeeds(client: Client, subject: str, body: Mapping[str, Any] | None = None) -> Any:
    """Call the API; return the answer."""
    answer = await ask(client, f"$JS.API.{subject}", json.dumps(body or {}).encode())
    content = json.loads(answer.data)
    assert "error" not in content, (subject, content)
    return content


@pytest.mark.long
class TestChanges:
    """Streams and consumers are made, used and deleted by those who may."""

    @pytest.mark.parametrize("user", ["operator", "tester"])
    async def test_consumer_of_one_s_own(self, shop: LocalServer, tmp_path: Path, user: str) -> None:
        config = {"name": "mine", "ack_policy": "explicit", "filter_subject": "evt.payments.>"}
        async with connected(shop, tmp_path, "payments") as (payments, _):
            await ask(payments, "evt.payments.Some.k-1", b"{}")
        async with connected(shop, tmp_path, user) as (client, denied):
            create = "CONSUMER.CREATE.EVENTS.mine.evt.payments.>"
            await succeeds(client, create, {"stream_name": "EVENTS", "config": config})
            message = await ask(client, "$JS.API.CONSUMER.MSG.NEXT.EVENTS.mine", b"1")
            assert message.subject.startswith("evt.payments.Some.")
            acknowledged = await ask(client, message.reply, b"+ACK")
            assert acknowledged.data == b""
            assert (await succeeds(client, "CONSUMER.INFO.EVENTS.mine"))["num_ack_pending"] == 0
            await succeeds(client, "CONSUMER.DELETE.EVENTS.mine")
            assert denied == []

    async def test_worker_answers_each_request_once_and_no_other_user_answers_any(
        self, shop: LocalServer, tmp_path: Path
    ) -> None:
        """The workers of the fixture answer too: a request to discover services has an answer of each of them."""
        async with (
            connected(shop, tmp_path, "operator") as (operator, _),
            connected(shop, tmp_path, "ordering") as (worker, denied),
            connected(shop, tmp_path, "tester") as (tester, never),
        ):
            heard = await worker.subscribe("$SRV.INFO.ordering.one")
            await worker.flush()
            inbox = operator.new_inbox()
            answers = await operator.subscribe(inbox)
            await operator.publish("$SRV.INFO.ordering.one", b"", reply=inbox)
            assert (await heard.next_msg(WITHIN_S)).reply == inbox
            await tester.publish(inbox, b"")
            await judged(tester, never)
            await worker.publish(inbox, b"first")
            await worker.publish(inbox, b"second")
            await judged(worker, denied)
            assert (denied, never) == ([("publish", inbox.lower())], [("publish", inbox.lower())])
            received = {(await answers.next_msg(WITHIN_S)).data, (await answers.next_msg(WITHIN_S)).data}
            assert received == {b"first", b"{}"}

    async def test_worker_acknowledges_its_own_consumer(self, shop: LocalServer, tmp_path: Path) -> None:
        async with connected(shop, tmp_path, "producer") as (producer, _):
            sent = await ask(producer, "cmd.ordering.CancelOrder.k-1", b"{}")
            assert json.loads(sent.data)["stream"] == "COMMANDS"
        async with connected(shop, tmp_path, "ordering") as (client, denied):
            body = json.dumps({"batch": 1, "expires": 10**9, "group": PRIORITY_GROUP}).encode()
            next_of = f"$JS.API.CONSUMER.MSG.NEXT.COMMANDS.ordering-{partition_of('k-1', 4)}"
            message = await ask(client, next_of, body)
            assert message.subject.startswith("cmd.ordering.CancelOrder.")
            await ask(client, message.reply, b"+ACK")
            assert denied == []

    async def test_operator_makes_changes_and_deletes_a_stream(self, shop: LocalServer, tmp_path: Path) -> None:
        mirror = {"name": "MIRROR", "mirror": {"name": "EVENTS"}, "storage": "memory"}
        async with connected(shop, tmp_path, "operator") as (client, denied):
            await succeeds(client, "STREAM.CREATE.MIRROR", mirror)
            await succeeds(client, "STREAM.UPDATE.MIRROR", {**mirror, "description": "a copy"})
            await succeeds(client, "STREAM.PURGE.MIRROR")
            durable = {"durable_name": "theirs", "ack_policy": "explicit"}
            await succeeds(
                client, "CONSUMER.DURABLE.CREATE.MIRROR.theirs", {"stream_name": "MIRROR", "config": durable}
            )
            await succeeds(client, "CONSUMER.PAUSE.MIRROR.theirs", {"pause_until": "2100-01-01T00:00:00Z"})
            await succeeds(client, "STREAM.DELETE.MIRROR")
            for kind in ("dlq", "timer"):
                await ask(client, f"{kind}.payments.Some.k-1", b"{}")
            await succeeds(client, "STREAM.MSG.DELETE.DEAD_LETTERS", {"seq": 1})
            await succeeds(client, "STREAM.DELETE.DEAD_LETTERS")
            assert denied == []
