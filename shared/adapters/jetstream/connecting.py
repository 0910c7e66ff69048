"""The first connection: a command gives up at once, a worker tries again for a while."""

import ssl
from collections.abc import Callable
from typing import TypeAlias

import anyio
import nats.errors

from shared.adapters.jetstream import bounds
from shared.adapters.jetstream.broker import JetStream
from shared.adapters.jetstream.nats_py import ConnectAbortedError
from shared.config.connection import ConnectionOptions
from shared.ports.broker import BrokerUnavailableError

OnWaiting: TypeAlias = Callable[[str], None]
"""Receives the reason why no server has answered yet."""


async def connect(options: ConnectionOptions, *, name: str, waiting: OnWaiting | None = None) -> JetStream:
    """Connect, or raise BrokerUnavailableError as soon as every server has failed once.

    With `waiting`, failed attempts are repeated until CONNECT_TIMEOUT_S have passed. `waiting` is called once, with the
    reason, when every server has failed once.
    """
    failures = 0

    def on_failure(error: Exception) -> None:
        nonlocal failures
        failures += 1
        if failures == len(options.servers):
            if waiting is None:
                raise ConnectAbortedError
            waiting(_reason(error))

    broker = JetStream()
    try:
        with anyio.fail_after(bounds.CONNECT_TIMEOUT_S):
            await broker._connect(options, name, on_failure)
    except (TimeoutError, OSError, nats.errors.Error, ssl.SSLError, ConnectAbortedError) as error:
        await broker.close()
        reason = _reason(broker.last_error or error)
        raise BrokerUnavailableError(f"no answer from {', '.join(options.servers)}: {reason}") from error
    return broker


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
