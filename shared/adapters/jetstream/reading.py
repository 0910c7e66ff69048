"""Reading a stream directly, without a consumer."""

import asyncio
import json

import anyio

from shared.adapters.jetstream.client import Answer, FastClient, Heard, settle
from shared.adapters.jetstream.denying import in_flight
from shared.adapters.jetstream.wire import to_stored, translated
from shared.ports.broker import BrokerRefusedError, BrokerUnavailableError, Stored

READ_BATCH = 1_000
ANSWER_TIMEOUT_S = 5.0
NOT_FOUND = 404
END_OF_BATCH = 204


async def read_batch(client: FastClient, stream: str, subject: str, first: int) -> tuple[list[Stored], bool]:
    """Up to 1,000 messages from sequence `first` on, and whether there are more."""
    body = json.dumps({"batch": READ_BATCH, "seq": first, "next_by_subj": subject}).encode()
    inbox = client.new_inbox()
    found: list[Stored] = []
    ended: Answer = asyncio.get_running_loop().create_future()

    def on_message(heard: Heard) -> None:
        if heard.headers.get("Status"):
            settle([ended], heard)
        else:
            found.append(to_stored(heard))

    request = (f"$JS.API.DIRECT.GET.{stream}", None, body)
    with translated(), in_flight(client, [request], ended):
        subscription = await client.hear(inbox, on_message)
        try:
            await client.publish(request[0], body, reply=inbox)
            with anyio.fail_after(ANSWER_TIMEOUT_S):
                end = await ended
        except TimeoutError as error:
            raise BrokerUnavailableError(f"{stream} did not answer a read in {ANSWER_TIMEOUT_S} s") from error
        finally:
            await subscription.unsubscribe()
        if not isinstance(end, Heard):
            raise end
    code = int(end.headers["Status"])
    if code not in (END_OF_BATCH, NOT_FOUND):
        raise BrokerRefusedError(code, end.headers.get("Description", "read refused"))
    return found, int(end.headers.get("Nats-Num-Pending", "0")) > 0
