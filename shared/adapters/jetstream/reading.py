"""Reading a stream directly, without a consumer."""

import json

import anyio

from shared.adapters.jetstream.client import FastClient, Heard
from shared.adapters.jetstream.wire import to_stored, translated
from shared.ports import BrokerRefusedError, BrokerUnavailableError, Stored

READ_BATCH = 1_000
ANSWER_TIMEOUT_S = 5.0
NOT_FOUND = 404
END_OF_BATCH = 204


async def read_batch(client: FastClient, stream: str, subject: str, first: int) -> tuple[list[Stored], bool]:
    """Up to 1,000 messages from sequence `first` on, and whether there are more."""
    request = {"batch": READ_BATCH, "seq": first, "next_by_subj": subject}
    inbox = client.new_inbox()
    found: list[Stored] = []
    ended: dict[str, str] = {}
    done = anyio.Event()

    def on_message(heard: Heard) -> None:
        if heard.headers.get("Status"):
            ended.update(heard.headers)
            done.set()
        else:
            found.append(to_stored(heard))

    with translated():
        subscription = await client.hear(inbox, on_message)
        try:
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=inbox)
            with anyio.fail_after(ANSWER_TIMEOUT_S):
                await done.wait()
        except TimeoutError as error:
            raise BrokerUnavailableError(f"{stream} did not answer a read in {ANSWER_TIMEOUT_S} s") from error
        finally:
            await subscription.unsubscribe()
    code = int(ended["Status"])
    if code not in (END_OF_BATCH, NOT_FOUND):
        raise BrokerRefusedError(code, ended.get("Description", "read refused"))
    return found, int(ended.get("Nats-Num-Pending", "0")) > 0
