"""The first connection: a command gives up at once, a worker tries again for a while.

When the server refuses the login, neither waits: the server would refuse it again.
"""

import re
import ssl
from collections.abc import Callable
from typing import TypeAlias

import anyio
import nats.errors

from shared.adapters.jetstream.bounds import ABANDON_WITHIN_S, CONNECT_TIMEOUT_S
from shared.adapters.jetstream.broker import JetStream
from shared.adapters.jetstream.nats_py import ConnectAbortedError
from shared.config.connection import ConnectionOptions
from shared.ports.broker import BrokerLoginError, BrokerUnavailableError

_LOGIN_REFUSED = re.compile("authorization|authentication", re.IGNORECASE)
"""In what the server says when it does not take a login, such as `Authorization Violation`."""

OnWaiting: TypeAlias = Callable[[str], None]
"""Receives the reason why no server has answered yet."""


async def connect(
    options: ConnectionOptions,
    *,
    name: str,
    waiting: OnWaiting | None = None,
    within_s: float = CONNECT_TIMEOUT_S,
) -> JetStream:
    """Connect, or raise BrokerUnavailableError as soon as every server has failed once.

    BrokerLoginError when one of them has refused the login and no other has taken it.

    With `waiting`, failed attempts are repeated until `within_s` have passed. `waiting` is called once, with the
    reason, when every server has failed once.
    """
    failures = 0
    refusal: BrokerLoginError | None = None

    def on_failure(error: Exception) -> None:
        nonlocal failures, refusal
        failures += 1
        if _LOGIN_REFUSED.search(str(error)):
            refusal = BrokerLoginError(_described(options, _reason(error)))
        if failures == len(options.servers):
            if refusal is not None:
                raise refusal
            if waiting is None:
                raise ConnectAbortedError
            waiting(_reason(error))

    broker = JetStream()
    try:
        with anyio.fail_after(within_s):
            await broker.connect(options, name, on_failure)
    except BrokerLoginError:
        await broker.close(within_s=ABANDON_WITHIN_S)
        raise
    except (TimeoutError, OSError, nats.errors.Error, ssl.SSLError, ConnectAbortedError) as error:
        await broker.close(within_s=ABANDON_WITHIN_S)
        if refusal is not None:
            raise refusal from error
        reason = _reason(broker.last_error or error)
        raise BrokerUnavailableError(f"no answer from {', '.join(options.servers)}: {reason}") from error
    return broker


def _described(options: ConnectionOptions, reason: str) -> str:
    """Describe the refused login and the remedy, in the order in which `find_connection` prefers them."""
    if options.user is not None:
        who, remedy = f"user {options.user}", "NATS_USER and NATS_PASSWORD (--user, --password)"
    elif options.token is not None:
        who, remedy = "the token", "NATS_TOKEN"
    elif options.creds is not None:
        who, remedy = f"the credentials in {options.creds}", "NATS_CREDS (--creds)"
    elif options.nkey is not None:
        who, remedy = f"the nkey in {options.nkey}", "NATS_NKEY (--nkey)"
    elif options.cert is not None:
        who, remedy = f"the certificate {options.cert}", "NATS_CERT and NATS_KEY (--tlscert, --tlskey)"
    else:
        who, remedy = "a connection without a login", "NATS_USER and NATS_PASSWORD, or NATS_CREDS"
    servers = ", ".join(options.servers)
    return f"{servers} refuses {who} ({reason}); set {remedy}, or choose a nats context, that the server knows"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
