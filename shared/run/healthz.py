"""Reads a server's own health at `/healthz`, and raises an alarm while the server says that it is not well.

A server that met a full disk answers 503 until it is restarted, even when the disk has space again. Its clients stay
connected, and it stores nothing that they publish.
"""

from typing import Final

import anyio

from shared.config.secrets import without_password
from shared.engine.monitor.alarms import Alarms
from shared.ports.broker import BrokerUnavailableError
from shared.run.server import ASK_TIMEOUT_S, ServerError, query_monitor

ASK_EVERY_S: Final = 5.0
NO_SPACE: Final = "no space left"


async def unhealthy_reason(monitor_url: str, *, within_s: float = ASK_TIMEOUT_S) -> str | None:
    """Why the server is not well, or None when it is. Raises BrokerUnavailableError when the monitor is silent."""
    try:
        answer = await query_monitor(monitor_url, "/healthz", within_s=within_s)
    except ServerError as error:
        return str(error)
    return None if answer.get("status") == "ok" else str(answer.get("error") or answer.get("status"))


async def update_health_alarm(alarms: Alarms, monitor_url: str) -> None:
    """Raise an alarm when the server says that it is not well, and clear it when it is.

    A silent monitor changes nothing: when the server is down, the connection shows it.
    """
    try:
        reason = await unhealthy_reason(monitor_url)
    except BrokerUnavailableError:
        return
    subject = without_password(monitor_url)
    if reason is None:
        alarms.clear("server", subject)
    else:
        once = " once there is space" if NO_SPACE in reason else ""
        alarms.raise_("server", subject, reason=reason, remedy=f"restart the nats-server{once}")


async def watch_health(alarms: Alarms, monitor_url: str, *, every_s: float = ASK_EVERY_S) -> None:
    """Query a server that this process did not start again and again, until cancelled."""
    while True:
        await update_health_alarm(alarms, monitor_url)
        await anyio.sleep(every_s)
