"""What follows when the server denies something: whoever waits for it is told, and subscriptions are tried again."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from shared.adapters.jetstream.client import Answer, FastClient, Request, settle
from shared.adapters.jetstream.denials import DeniedError, denied_in

SUBSCRIBE_AGAIN_S = 2.0
"""How often a denied subscription is tried again."""

_subscribing: Final[set[asyncio.Task[None]]] = set()
"""Keeps the tasks alive that nobody waits for."""


def take_denial(client: FastClient, error: Exception) -> bool:
    """Act on an error of the server's that is a denial; whether it is one."""
    denied = denied_in(error)
    if denied is None:
        return False
    action, spelled = denied
    if action == "publish":
        _publication_denied(client, spelled)
    elif spelled.startswith(client.inboxes.removesuffix(">").lower()):
        denial = client.denials.add("subscribe", client.inboxes)
        if spelled.endswith(".*"):
            client.forget_answers(DeniedError(denial))
    else:
        _subscription_denied(client, spelled)
    return True


@contextmanager
def in_flight(client: FastClient, requests: Sequence[Request], *answers: Answer) -> Iterator[None]:
    """Messages that are sent past `ask`: a denial of one is told by the name it was sent under, and to its answer."""
    client.calls[id(requests)] = (requests, answers)
    try:
        yield
    finally:
        del client.calls[id(requests)]


def _publication_denied(client: FastClient, spelled: str) -> None:
    subject = client.publishes.get(spelled, spelled)
    if spelled.startswith("$js.ack."):
        subject = client.publishes.get(".".join(spelled.split(".")[:4]), spelled)
    waiting = []
    for requests, answers in client.calls.values():
        for number, (asked, *_) in enumerate(requests):
            if asked.lower() == spelled:
                subject = asked
                waiting += list(answers)[number : number + 1]
    settle(waiting, DeniedError(client.denials.add("publish", subject)))


def _subscription_denied(client: FastClient, spelled: str) -> None:
    loop = asyncio.get_running_loop()
    for sid, subscription in client._subs.items():
        if subscription.subject.lower() == spelled:
            times = client.denials.add("subscribe", subscription.subject).times
            loop.call_later(SUBSCRIBE_AGAIN_S, _subscribe_again, client, sid, times)


def _subscribe_again(client: FastClient, sid: int, times: int) -> None:
    """Subscribe to a denied subject again, and take it for allowed when the server does not object in time."""
    subscription = client._subs.get(sid)
    if subscription is None or not client.is_connected:
        return  # It was ended, or the next connection subscribes to everything by itself.
    loop = asyncio.get_running_loop()

    def allowed() -> None:
        subject = subscription.subject
        if any(d.action == "subscribe" and (d.subject, d.times) == (subject, times) for d in client.denials.current):
            client.denials.over("subscribe", [subject])

    task = loop.create_task(client._send_subscribe(subscription))
    _subscribing.add(task)
    task.add_done_callback(_subscribing.discard)
    loop.call_later(SUBSCRIBE_AGAIN_S / 2, allowed)
