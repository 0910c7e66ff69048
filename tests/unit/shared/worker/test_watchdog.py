"""A process whose loop stands still logs where it stands and ends; a process that was stopped for a while goes on."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.waiting import WITHIN_S

ENDS_AFTER_S = 0.6

BLOCKS = """
def blocks_for_ever():
    while True:
        pass
await anyio.lowlevel.checkpoint()
print("blocks", flush=True)
blocks_for_ever()
"""
GOES_ON = """
print("goes on", flush=True)
await anyio.sleep(2)
print("went on", flush=True)
"""
DRAINS = """
await anyio.lowlevel.checkpoint()
pulse.stopping()
print("drains", flush=True)
time.sleep(1.5)
"""


@contextmanager
def running(body: str, directory: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a pulse that runs this program."""
    indented = "\n".join(f"        {line}" for line in body.strip().splitlines())
    program = f"""
import time, anyio, anyio.lowlevel
from pathlib import Path
from shared.config import log
from shared.worker.health_file import HealthFile
from shared.worker.notify import Notifier
from shared.worker.pulse import Pulse
from shared.worker.watchdog import Watchdog
async def main():
    log.configure("info", "json", context="till")
    watchdog = Watchdog(ends_after_s={ENDS_AFTER_S})
    pulse = Pulse("till", Notifier(None), HealthFile(Path({directory!r}), "till"), watchdog, beat_s=0.05)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pulse.run)
{indented}
        tasks.cancel_scope.cancel()
anyio.run(main)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_process_whose_event_loop_stands_still_ends_and_says_where(tmp_path: object) -> None:
    with running(BLOCKS, str(tmp_path)) as process:
        out, err = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, out) == (70, "blocks\n")
    assert "the loop stands still" in err
    assert "in blocks_for_ever" in err


def test_a_process_that_was_stopped_as_a_whole_goes_on(tmp_path: object) -> None:
    with running(GOES_ON, str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "goes on\n"
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=3 * ENDS_AFTER_S)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, out, err) == (0, "went on\n", "")


def test_a_process_that_drains_is_left_to_its_supervisor(tmp_path: object) -> None:
    with running(DRAINS, str(tmp_path)) as process:
        out, _ = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, out) == (0, "drains\n")
