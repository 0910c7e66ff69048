"""Reads a stream directly, without a consumer.

The end of a batch is an asyncio future: nats-py calls back from a task of its own, outside of any anyio task group.
"""

import asyncio
import json

import anyio

from shared.adapters.jetstream import bounds
from shared.adapters.jetstream.client import JetStreamClient, PendingAnswer, resolve
from shared.adapters.jetstream.conversions import PORT_ERRORS, to_stored
from shared.adapters.jetstream.denial_handling import in_flight
from shared.adapters.jetstream.nats_py import Received
from shared.ports.broker import BrokerRefusedError, BrokerUnavailableError, Stored

READ_BATCH = 1_000
NOT_FOUND = 404
END_OF_BATCH = 204


async def read_batch(client: JetStreamClient, stream: str, subject: str, first: int) -> tuple[list[Stored], bool]:
    """Up to 1,000 messages from sequence `first` on, and whether there are more."""
    body = json.dumps({"batch": READ_BATCH, "seq": first, "next_by_subj": subject}).encode()
    inbox = client.new_inbox()
    messages: list[Stored] = []
    end_of_batch: PendingAnswer = asyncio.get_running_loop().create_future()

    def on_message(received: Received) -> None:
        if received.headers.get("Status"):
            resolve([end_of_batch], received)
        else:
            messages.append(to_stored(received))

    request = (f"$JS.API.DIRECT.GET.{stream}", None, body)
    with PORT_ERRORS, in_flight(client, [request], end_of_batch):
        subscription = await client.listen(inbox, on_message)
        try:
            await client.publish(request[0], body, reply=inbox)
            with anyio.fail_after(bounds.REQUEST_TIMEOUT_S):
                end = await end_of_batch
        except TimeoutError as error:
            raise BrokerUnavailableError(f"{stream} did not answer a read in {bounds.REQUEST_TIMEOUT_S} s") from error
        finally:
            await subscription.unsubscribe()
        if not isinstance(end, Received):
            raise end
    code = int(end.headers["Status"])
    if code not in (END_OF_BATCH, NOT_FOUND):
        raise BrokerRefusedError(code, end.headers.get("Description", "read refused"))
    return messages, int(end.headers.get("Nats-Num-Pending", "0")) > 0
