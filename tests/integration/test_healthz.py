"""A worker watches the health of a server that it did not start."""

import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

from shared.adapters.clock import SystemClock
from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.engine.monitor.alarms import Alarms
from shared.ports.broker import BrokerUnavailableError
from shared.run.child_process import ChildProgram, child_process
from shared.run.healthz import unhealthy_reason, update_health_alarm, watch_health
from shared.run.server import LocalServer
from shared.run.system import apply_streams
from tests.e2e.shop import environment
from tests.integration.lines import Lines
from tests.integration.monitors import NO_SPACE, monitor
from tests.waiting import until


async def test_server_that_is_well_has_no_ailment(nats_server: LocalServer) -> None:
    assert await unhealthy_reason(nats_server.monitor_url) is None


async def test_ailment_is_what_the_server_says() -> None:
    with monitor() as shown:
        shown.trouble = NO_SPACE
        assert await unhealthy_reason(shown.url) == NO_SPACE
    with pytest.raises(BrokerUnavailableError):
        await unhealthy_reason(shown.url)


async def test_alarm_lasts_as_long_as_the_server_is_unwell() -> None:
    alarms = Alarms(SystemClock())
    with monitor() as shown:
        await update_health_alarm(alarms, shown.url)
        assert alarms.raised == []
        shown.trouble = NO_SPACE
        await update_health_alarm(alarms, shown.url)
        (alarm,) = alarms.raised
        assert (alarm.kind, alarm.subject, alarm.reason) == ("server", shown.url, NO_SPACE)
        assert alarm.remedy == "restart the nats-server once there is space"
        shown.trouble = "JetStream not enabled"
        await update_health_alarm(alarms, shown.url)
        assert (alarm.reason, alarm.remedy) == ("JetStream not enabled", "restart the nats-server")
        shown.trouble = ""
        await update_health_alarm(alarms, shown.url)
        assert alarms.raised == []


async def test_monitor_that_is_away_changes_no_alarm() -> None:
    alarms = Alarms(SystemClock())
    with monitor() as shown:
        shown.trouble = NO_SPACE
        await update_health_alarm(alarms, shown.url)
    await update_health_alarm(alarms, shown.url)
    assert [alarm.reason for alarm in alarms.raised] == [NO_SPACE]


async def test_server_is_asked_again_and_again() -> None:
    alarms = Alarms(SystemClock())
    with monitor() as shown:
        shown.trouble = NO_SPACE
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(watch_health, alarms, shown.url, every_s=0.01))
            await until(lambda: alarms.raised)
            shown.trouble = ""
            await until(lambda: not alarms.raised)
            tasks.cancel_scope.cancel()


async def test_worker_tells_what_the_monitor_of_its_server_says(account_url: str, tmp_path: Path) -> None:
    await apply_streams(ConnectionOptions(servers=(account_url,)), Settings())
    lines = Lines()
    with monitor() as shown:
        shown.trouble = NO_SPACE
        environ = environment(account_url, tmp_path, monitor_url=shown.url, log_format="json")
        ordering = ChildProgram("ordering", (sys.executable, "-m", "contexts.ordering"))
        async with child_process(ordering, environ, lines.tell):
            raised = await lines.until("alarm raised")
            assert '"kind": "server"' in raised
            assert "no space left on device" in raised
