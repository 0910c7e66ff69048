"""Every user against every subject, judged by a server: its own is allowed, and all else is denied (R17)."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from shared import catalog
from shared.access.directory import apply, public_keys, seed_file
from shared.access.of_system import users_of
from shared.access.rights import User
from shared.access.server import authorization
from shared.adapters.jetstream.nats_py import denied_in
from shared.config.settings import Settings
from shared.context import Context
from shared.run.server import LocalServer, local_server
from tests.waiting import until

CONTEXTS = {name: one for name, one in catalog.contexts(Settings()).items() if isinstance(one, Context)}
SIDE = "insights"
ROLES = ("operator", "producer", "frontend", "tester", "monitor")
ASKED_BY_CUSTOMERS = ("Order", "Orders", "Customer", "Stock", "Payment", "Search")
USERS = (*sorted((*CONTEXTS, SIDE)), *ROLES)
STREAMS = ("COMMANDS", "EVENTS", "TIMERS", "DEAD_LETTERS")
READS = {  # The streams that each context has consumers on.
    "bank": ("COMMANDS", "TIMERS"),
    "inventory": ("COMMANDS", "EVENTS", "TIMERS"),
    "notifications": ("EVENTS", "TIMERS"),
    "ordering": ("COMMANDS", "EVENTS", "TIMERS"),
    "payments": ("COMMANDS", "EVENTS", "TIMERS"),
    "shipping": ("COMMANDS", "EVENTS", "TIMERS"),
    "support": ("EVENTS", "TIMERS"),
}
ASKS = {"payments": "bank"}
NOBODY = ("evt.stranger.Event.k", "cmd.stranger.Command.k", "hello", "_INBOX.x", "$SYS.REQ.SERVER.PING", "$KV.b.k")
CONSUMERS = ("payments-0", "inventory-3", "bank-1", "insights-projection", "mine")
LAST = "nobody.may"
ON_CONSUMERS = ("CREATE", "DURABLE.CREATE", "DELETE", "INFO", "MSG.NEXT", "RESET", "UNPIN", "PAUSE")
ON_STREAMS = ("CREATE", "UPDATE", "DELETE", "INFO", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE")


def accepted(context: str) -> str:
    """The name of a command that clients may send; of none, where a context accepts none."""
    return next((command.__name__ for command in CONTEXTS[context].accepts), "None")


def published() -> Iterator[str]:
    """Every kind of subject to which somebody may want to publish or to send a request."""
    yield from NOBODY
    for name in CONTEXTS:
        yield from (f"{kind}.{name}.Some.k-1" for kind in ("evt", "timer", "due", "dlq", "cmd"))
        yield from (f"due.{name}.PartitionVacant.0", f"evt.{name}.Some.0.k-1", f"svc.{name}.refund")
        yield from (f"cmd.{name}.{accepted(name)}.k-1", f"cmd.{name}.{accepted(name)}.0.k-1")
        yield from (f"api.{name}.{question}" for question in (accepted(name), "about", "waiting", "list", "lag"))
    yield from (f"_INBOX_{user}.x.1" for user in USERS)
    yield from ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.EVENT.ADVISORY.API", "$SRV.PING")
    yield from ("$SRV.STATS.payments", "$SRV.INFO.payments.id")
    yield from _any_query()
    yield from ("$KV.orders.k", f"api.{SIDE}.lag-projection", f"evt.{SIDE}.StockLow.k-1", f"evt.{SIDE}.Some.k-1")
    for stream in (*STREAMS, "MIRROR", "KV_orders", "OTHER"):
        yield from (f"$JS.API.STREAM.{verb}.{stream}" for verb in ON_STREAMS)
        yield from (f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.evt.payments.Some.0.k")
        yield from (f"$JS.API.CONSUMER.{verb}.{stream}" for verb in ("LIST", "NAMES", "CREATE"))
        for consumer in CONSUMERS:
            yield from (f"$JS.API.CONSUMER.{verb}.{stream}.{consumer}" for verb in ON_CONSUMERS)
            yield f"$JS.API.CONSUMER.CREATE.{stream}.{consumer}.evt.payments.>"
            yield f"$JS.ACK.{stream}.{consumer}.1.2.3.4.5"


def may_publish(user: str) -> set[str]:
    """The subjects of `published` that a user may use, and no others."""
    if user in CONTEXTS:
        return {*_of_context(user)}
    return {
        *{
            "operator": _operator,
            "producer": _producer,
            "frontend": _frontend,
            "tester": _tester,
            "insights": _insights,
            "monitor": _monitor,
        }[user]()
    }


def _of_context(name: str) -> Iterator[str]:
    yield from (f"{kind}.{name}.Some.k-1" for kind in ("evt", "timer", "dlq"))
    yield from (f"evt.{name}.Some.0.k-1", f"due.{name}.PartitionVacant.0")  # The stream refuses five tokens.
    if CONTEXTS[name].accepts:
        yield f"cmd.{name}.{accepted(name)}.k-1"
    if name in ASKS:
        yield f"svc.{ASKS[name]}.refund"
    yield from (f"$JS.API.STREAM.INFO.{stream}" for stream in STREAMS)
    for stream in ("EVENTS", "TIMERS", "DEAD_LETTERS"):
        yield from _direct(stream)
    for consumer in (one for one in CONSUMERS if one.startswith(f"{name}-")):
        for stream in READS[name]:
            yield from _pull(stream, consumer)


def _direct(stream: str) -> Iterator[str]:
    yield from (f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.evt.payments.Some.0.k")


def _pull(stream: str, consumer: str) -> Iterator[str]:
    yield from (f"$JS.API.CONSUMER.{verb}.{stream}.{consumer}" for verb in ("INFO", "MSG.NEXT", "RESET", "UNPIN"))
    yield f"$JS.ACK.{stream}.{consumer}.1.2.3.4.5"


def _look(*streams: str) -> Iterator[str]:
    yield from ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST")
    yield from ("$SRV.PING", "$SRV.STATS.payments", "$SRV.INFO.payments.id")
    for stream in streams:
        yield from (f"$JS.API.STREAM.INFO.{stream}", f"$JS.API.CONSUMER.LIST.{stream}")
        yield f"$JS.API.CONSUMER.NAMES.{stream}"
        yield from (f"$JS.API.CONSUMER.INFO.{stream}.{consumer}" for consumer in CONSUMERS)


def _questions(*names: str) -> Iterator[str]:
    yield from (f"api.{context}.{name}" for context in CONTEXTS for name in names)


def _operator() -> Iterator[str]:
    yield from _look()
    yield from _questions("about", "waiting", "list", "lag")
    yield from _any_query()
    yield f"api.{SIDE}.lag-projection"
    for name in CONTEXTS:  # To reconcile.
        yield from (f"{kind}.{name}.Some.k-1" for kind in ("evt", "timer", "dlq"))
        yield f"evt.{name}.Some.0.k-1"
    yield from (one for one in published() if one.startswith(("$JS.API.", "$JS.ACK.")) and "OTHER" not in one)


def _producer() -> Iterator[str]:
    yield "cmd.stranger.Command.k"  # COMMANDS does not take it.
    for name in CONTEXTS:
        yield from (f"cmd.{name}.Some.k-1", f"cmd.{name}.{accepted(name)}.k-1")
        if CONTEXTS[name].accepts:
            yield f"api.{name}.{accepted(name)}"


def _frontend() -> Iterator[str]:
    yield from _producer()
    yield from (f"api.{SIDE}.{query}" for query in ASKED_BY_CUSTOMERS)


def _any_query() -> Iterator[str]:
    yield from (f"api.{SIDE}.{query}" for query in (*ASKED_BY_CUSTOMERS, "Figures", "any.Order", "any.Figures"))


def _tester() -> Iterator[str]:
    yield from _look(*STREAMS, "MIRROR")
    yield from _questions("about", "waiting", "list", "lag")
    yield from _any_query()
    yield f"api.{SIDE}.lag-projection"
    for stream in (*STREAMS, "MIRROR", "KV_orders"):
        yield from _direct(stream)
        yield f"$JS.API.STREAM.INFO.{stream}"
    for stream in ("EVENTS", "DEAD_LETTERS", "MIRROR", "KV_orders"):
        for consumer in CONSUMERS:
            yield f"$JS.API.CONSUMER.INFO.{stream}.{consumer}"
            foreign = stream == "EVENTS" and consumer in ("payments-0", "inventory-3", "insights-projection")
            if not foreign:
                yield from (f"$JS.API.CONSUMER.{verb}.{stream}.{consumer}" for verb in ("CREATE", "DELETE", "MSG.NEXT"))
                yield f"$JS.API.CONSUMER.CREATE.{stream}.{consumer}.evt.payments.>"
                yield f"$JS.ACK.{stream}.{consumer}.1.2.3.4.5"


def _insights() -> Iterator[str]:
    yield from (f"$JS.API.STREAM.INFO.{stream}" for stream in ("EVENTS", "KV_orders"))
    yield from _direct("EVENTS")
    yield from _direct("KV_orders")
    yield from _pull("EVENTS", "insights-projection")
    yield from ("$KV.orders.k", f"evt.{SIDE}.StockLow.k-1")


def _monitor() -> Iterator[str]:
    yield from _look(*STREAMS)
    yield from _questions("lag")
    yield f"api.{SIDE}.lag-projection"


def subscribed() -> Iterator[str]:
    """Every kind of subject to which somebody may want to subscribe."""
    yield from (">", "*.>", "evt.>", "cmd.>", "timer.>", "due.>", "dlq.>", "api.>", "svc.>", "$JS.>", "$JS.API.>")
    yield from ("_INBOX.>", "_INBOX.x", "$JS.ACK.>", "$KV.>", "$SYS.>", "$SRV.>", "$SRV.PING", "$JS.EVENT.ADVISORY.>")
    yield from (f"_INBOX_{user}.>" for user in USERS)
    for name in CONTEXTS:
        yield from (f"evt.{name}.>", f"api.{name}.about", f"svc.{name}.refund", f"$SRV.INFO.{name}.id")
    yield from (f"api.{SIDE}.Order", f"api.{SIDE}.any.Order")


def may_subscribe(user: str) -> set[str]:
    """The subjects of `subscribed` that a user may use, and no others."""
    found = {f"_INBOX_{user}.>"}
    if user in CONTEXTS:
        found |= {f"api.{user}.about", f"$SRV.INFO.{user}.id"}
    if user in CONTEXTS or user == "insights":
        found |= {"$SRV.PING"}
    if user == "insights":
        found |= {f"api.{SIDE}.Order", f"api.{SIDE}.any.Order"}
    if user in ("operator", "monitor"):
        found |= {"$JS.EVENT.ADVISORY.>"}
    return found | ({"svc.bank.refund"} if user == "bank" else set())


@pytest.fixture(scope="module")
def users() -> tuple[User, ...]:
    return users_of(Settings())


@asynccontextmanager
async def guarded(directory: Path, users: tuple[User, ...]) -> AsyncIterator[LocalServer]:
    """A server that knows the users of the shop; their seeds are in `directory`."""
    apply(directory, users)
    more = {"authorization": authorization(users, public_keys(directory))}
    async with local_server(directory / "nats", more=more) as server:
        yield server


@asynccontextmanager
async def connected(
    server: LocalServer, directory: Path, user: str
) -> AsyncIterator[tuple[Client, list[tuple[str, str]]]]:
    """A connection of a user, and the list of what the server denies it."""
    denied: list[tuple[str, str]] = []

    async def on_error(error: Exception) -> None:
        found = denied_in(error)
        denied.append((str(found[0]), found[1]) if found else ("error", str(error)))

    seed = str(seed_file(directory, user))
    client = await nats.connect(server.url, nkeys_seed=seed, inbox_prefix=f"_INBOX_{user}", error_cb=on_error)
    try:
        yield client, denied
    finally:
        await client.close()


async def judged(client: Client, denied: list[tuple[str, str]]) -> None:
    """Wait until the server has judged everything that was sent before: it denies the last message to everybody."""
    await client.publish(LAST, b"")
    await until(lambda: ("publish", LAST) in denied, "the server has judged the last message")
    denied.remove(("publish", LAST))


def test_the_users_are_the_contexts_and_the_roles(users: tuple[User, ...]) -> None:
    assert tuple(user.name for user in users) == USERS


async def test_each_user_may_publish_exactly_what_is_its_own(tmp_path: Path, users: tuple[User, ...]) -> None:
    subjects = list(dict.fromkeys(published()))
    found: dict[str, set[str]] = {}
    async with guarded(tmp_path, users) as server:
        for user in USERS:
            async with connected(server, tmp_path, user) as (client, denied):
                for subject in subjects:
                    await client.publish(subject, b"", reply=f"_INBOX_{user}.probe")
                await judged(client, denied)
                refused = {subject for action, subject in denied if action == "publish"}
                assert len(refused) == len(denied)
                found[user] = {subject for subject in subjects if subject.lower() not in refused}
    expected: Mapping[str, set[str]] = {user: may_publish(user) for user in USERS}
    assert {user: sorted(found[user] ^ expected[user]) for user in USERS} == {user: [] for user in USERS}


async def test_each_user_may_subscribe_exactly_to_what_is_its_own(tmp_path: Path, users: tuple[User, ...]) -> None:
    subjects = list(subscribed())
    found: dict[str, set[str]] = {}
    async with guarded(tmp_path, users) as server:
        for user in USERS:
            async with connected(server, tmp_path, user) as (client, denied):
                for subject in subjects:
                    await client.subscribe(subject)
                await judged(client, denied)
                refused = {subject for action, subject in denied if action == "subscribe"}
                assert len(refused) == len(denied)
                found[user] = {subject for subject in subjects if subject.lower() not in refused}
    expected = {user: may_subscribe(user) for user in USERS}
    assert {user: sorted(found[user] ^ expected[user]) for user in USERS} == {user: [] for user in USERS}
