"""The socket on which a child reports: what comes in the moment in which nobody waits any more is no error."""

import asyncio
import socket
import stat
from pathlib import Path
from typing import Any

import anyio

from shared.run.report_socket import ReportSocket, socket_directory
from tests.waiting import WITHIN_S


async def test_a_report_that_comes_while_the_supervisor_stops_is_no_error(tmp_path: Path) -> None:
    loop, path, errors = asyncio.get_running_loop(), tmp_path / "reports", list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    with ReportSocket(path) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as child:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with anyio.create_task_group() as watching:
            watching.start_soon(listener.receive, WITHIN_S)
            await anyio.wait_all_tasks_blocked()
            child.sendto(b"STOPPING=1", str(path))
            loop.call_soon(watching.cancel_scope.cancel)  # In the round of the loop that finds the report.
            await asyncio.sleep(0)
        assert await listener.receive(WITHIN_S) == {b"STOPPING=1"}
        assert await listener.receive(0.0) is None
    assert not errors
    assert not path.exists()


def test_a_deep_temporary_directory_hinders_no_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with socket_directory(deep) as sockets, ReportSocket(sockets / f"{1 << 40:x}"):
        assert sockets.parent == Path("/tmp")
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert [*deep.iterdir()] == []
