"""Has a running nats-server read its configuration again."""

import json
import os
import signal
from collections.abc import Mapping

from shared.run.server import CONFIGURATION, LocalServer
from tests.waiting import until

RELOADED = "Reloaded server configuration"


async def reload(server: LocalServer, more: Mapping[str, object]) -> None:
    """Change the configuration of a server, and wait until it has read it."""
    file = server.directory / CONFIGURATION
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    log = server.directory / "nats-server.log"
    before = log.read_text().count(RELOADED)
    os.kill(server.pid, signal.SIGHUP)
    await until(lambda: log.read_text().count(RELOADED) > before, RELOADED)
