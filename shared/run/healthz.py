"""What a server says of its own health at `/healthz`.

A server that met a full disk answers 503 until it is started again, also when there is space long since. Its clients
stay connected meanwhile, and whatever they publish is not stored.
"""

from typing import Final

import anyio

from shared.config.secrets import without_password
from shared.engine.monitor.alarms import Alarms
from shared.ports.broker import BrokerUnavailableError
from shared.run.server import ServerError, ask

ASK_EVERY_S: Final = 5.0
NO_SPACE: Final = "no space left"


async def ailment(monitor_url: str) -> str | None:
    """What the server says is wrong with it; None when it is well. Raises BrokerUnavailableError without an answer."""
    try:
        said = await ask(monitor_url, "/healthz")
    except ServerError as error:
        return str(error)
    return None if said.get("status") == "ok" else str(said.get("error") or said.get("status"))


async def note_health(alarms: Alarms, monitor_url: str) -> None:
    """Raise an alarm when the server says that it is not well, and clear it when it is.

    A monitor that does not answer changes nothing: the connection to the server tells more.
    """
    try:
        said = await ailment(monitor_url)
    except BrokerUnavailableError:
        return
    subject = without_password(monitor_url)
    if said is None:
        alarms.clear("server", subject)
    else:
        once = " once there is space" if NO_SPACE in said else ""
        alarms.raise_("server", subject, reason=said, remedy=f"restart the nats-server{once}")


async def watch_health(alarms: Alarms, monitor_url: str) -> None:
    """Ask a server that somebody else runs every few seconds."""
    while True:
        await note_health(alarms, monitor_url)
        await anyio.sleep(ASK_EVERY_S)
