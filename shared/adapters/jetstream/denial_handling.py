"""Reacts to a permission error: records the denial, fails the denied request, and retries a denied subscription.

nats-py lower-cases the denied subject. Its real spelling is looked up among the subjects that this client has used.
The retry is an asyncio task: nats-py reports errors from a task of its own, outside of any anyio task group.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from shared.adapters.jetstream.client import JetStreamClient, PendingAnswer, Request, resolve
from shared.adapters.jetstream.denials import DeniedError
from shared.adapters.jetstream.nats_py import denied_in

RESUBSCRIBE_AFTER_S = 2.0

_resubscribing: Final[set[asyncio.Task[None]]] = set()
"""Keeps references to running tasks; asyncio itself holds only weak ones."""


def handle_denial(client: JetStreamClient, error: Exception) -> bool:
    """Handle an error that is a permission error; returns whether it was one."""
    denied = denied_in(error)
    if denied is None:
        return False
    action, spelled = denied
    if action == "publish":
        _handle_denied_publish(client, spelled)
    elif spelled.startswith(client.inbox_pattern.removesuffix(">").lower()):
        denial = client.denials.record("subscribe", client.inbox_pattern)
        if spelled.endswith(".*"):
            client.drop_reply_subscription(DeniedError(denial))
    else:
        _handle_denied_subscription(client, spelled)
    return True


@contextmanager
def in_flight(client: JetStreamClient, requests: Sequence[Request], *answers: PendingAnswer) -> Iterator[None]:
    """Register requests that `send_requests` does not send, so that a denial finds their subjects and answers."""
    client.calls[id(requests)] = (requests, answers)
    try:
        yield
    finally:
        del client.calls[id(requests)]


def _handle_denied_publish(client: JetStreamClient, spelled: str) -> None:
    subject = client.one_way.get(spelled, spelled)
    if spelled.startswith("$js.ack."):
        subject = client.one_way.get(".".join(spelled.split(".")[:4]), spelled)
    denied_answers = []
    for requests, answers in client.calls.values():
        for number, (requested, *_) in enumerate(requests):
            if requested.lower() == spelled:
                subject = requested
                denied_answers += list(answers)[number : number + 1]
    resolve(denied_answers, DeniedError(client.denials.record("publish", subject)))


def _handle_denied_subscription(client: JetStreamClient, spelled: str) -> None:
    loop = asyncio.get_running_loop()
    for sid, subscription in client.subscriptions.items():
        if subscription.subject.lower() == spelled:
            times = client.denials.record("subscribe", subscription.subject).times
            loop.call_later(RESUBSCRIBE_AFTER_S, _resubscribe, client, sid, times)


def _resubscribe(client: JetStreamClient, sid: int, times: int) -> None:
    """Subscribe again, and clear the denial unless the server repeats it within a second."""
    subscription = client.subscriptions.get(sid)
    if subscription is None or not client.is_connected:
        return  # The subscription has ended, or nats-py renews it on the next connection.
    loop = asyncio.get_running_loop()

    def clear_denial() -> None:
        subject = subscription.subject
        if any(d.action == "subscribe" and (d.subject, d.times) == (subject, times) for d in client.denials.current):
            client.denials.clear("subscribe", [subject])

    task = loop.create_task(client.resubscribe(subscription))
    _resubscribing.add(task)
    task.add_done_callback(_resubscribing.discard)
    loop.call_later(RESUBSCRIBE_AFTER_S / 2, clear_denial)
