"""The supervisor with real processes: a small program that speaks the notify protocol stands in for a worker."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from shared.engine.retry import Delays
from shared.run.child_process import ChildProgram, last_error
from shared.run.refusals import NotWorthRestartingError, Refusal
from shared.run.supervisor import Supervisor, supervised
from tests.integration.lines import Lines
from tests.waiting import WITHIN_S

WORKER = """
import os, signal, socket, sys, time

said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

def say(what):
    said.sendto(what, os.environ["NOTIFY_SOCKET"])

def stop(*_):
    say(b"STOPPING=1")
    print("drained", flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
print("hello from", os.getpid(), flush=True)
say(b"READY=1")
while True:
    time.sleep(0.2)
    say(b"WATCHDOG=1")
"""
REFUSES = "import sys; print('chorus: no such flag'); sys.exit({})"
ENDS_WITH = "import sys; sys.exit({})"


def program(name: str, source: str = WORKER) -> ChildProgram:
    return ChildProgram(name, (sys.executable, "-c", source))


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def ready(kept: Supervisor) -> None:
    with anyio.fail_after(WITHIN_S):
        await kept.ready()


async def test_a_worker_that_was_killed_is_started_again() -> None:
    lines = Lines()
    async with supervised([program("a"), program("b")], os.environ, lines.tell) as kept:
        await ready(kept)
        before = dict(kept.pids)
        os.kill(kept.pids["a"], signal.SIGKILL)
        await lines.until("chorus: a is back")
        assert kept.pids["a"] != before["a"]
        assert kept.pids["b"] == before["b"]
    assert "chorus: a ended (SIGKILL), starting it again in 0.1 s" in lines.said
    assert not any(map(alive, kept.pids.values()))


async def test_a_worker_that_hangs_is_killed_and_started_again() -> None:
    lines = Lines()
    async with supervised([program("a")], os.environ, lines.tell, silent_at_most_s=1.0) as kept:
        await ready(kept)
        os.kill(kept.pids["a"], signal.SIGSTOP)
        await lines.until("chorus: a is back")
    assert "chorus: a hangs: killing it" in lines.said


async def test_a_worker_is_stopped_with_sigterm_and_heard_to_its_last_line() -> None:
    lines = Lines()
    async with supervised([program("a")], os.environ, lines.tell) as kept:
        await ready(kept)
        stopped = await kept.stop("a")
        assert lines.said[-1] == "a: drained"
        kept.start(stopped)
        await ready(kept)
    assert lines.said[-1] == "a: drained"


@pytest.mark.parametrize("code", [64, 78])
async def test_a_worker_that_refuses_to_start_stops_all_that_belong_together(code: int) -> None:
    pids: list[int] = []

    async def run() -> None:
        async with supervised([program("a")], os.environ, Lines().tell) as kept:
            await ready(kept)
            pids.extend(kept.pids.values())
            kept.start(program("bad", REFUSES.format(code)))
            await anyio.sleep_forever()

    with pytest.raises(
        NotWorthRestartingError, match=rf"^bad cannot start \(exit code {code}\): no such flag$"
    ) as stopped:
        await run()
    assert stopped.value.code == code
    assert not any(map(alive, pids))


async def test_a_worker_that_refuses_to_start_leaves_the_others_alone_where_that_is_tolerated() -> None:
    lines = Lines()
    programs = [program("a"), program("bad", REFUSES.format(78))]
    async with supervised(programs, os.environ, lines.tell, tolerant=True) as kept:
        with anyio.fail_after(WITHIN_S):
            await kept.ready_or_refused()
            await lines.until("hello from")
        assert alive(kept.pids["a"])
        assert kept.refusals == {"bad": Refusal(78, "no such flag")}
    assert "chorus: bad cannot start (exit code 78): no such flag; trying again in 10 s" in lines.said


async def test_a_worker_that_refused_to_start_is_back_once_it_is_mended(tmp_path: Path) -> None:
    soon = Delays(first_s=0.5, last_s=1.0)
    lines = Lines()
    mended = tmp_path / "mended"
    source = f"import os, sys\nif not os.path.exists({str(mended)!r}): sys.exit(78)\n{WORKER}"
    programs = [program("a"), program("b", source)]
    async with supervised(programs, os.environ, lines.tell, tolerant=True, refused_delays=soon) as kept:
        await lines.until("b cannot start (exit code 78): it wrote nothing")
        mended.touch()
        await lines.until("chorus: b is back")
        assert kept.refusals == {}


async def test_all_workers_that_refuse_to_start_end_the_supervisor_with_their_code() -> None:
    async def run(*codes: int) -> None:
        programs = [program(f"w{number}", REFUSES.format(code)) for number, code in enumerate(codes)]
        async with supervised(programs, os.environ, Lines().tell, tolerant=True):
            await anyio.sleep_forever()

    for codes, expected in (((64, 64), 64), ((78,), 78), ((64, 78), 78)):
        with anyio.fail_after(WITHIN_S), pytest.raises(NotWorthRestartingError) as stopped:
            await run(*codes)
        assert stopped.value.code == expected
        assert str(stopped.value).count("cannot start") == len(codes)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), "it wrote nothing"),
        (("one", "two", ""), "two"),
        (("chorus: no server is named",), "no server is named"),
        (
            (
                '{"level": "error", "event": "bad configuration", "reason": "no stream"}',
                '{"level": "info", "event": "bye"}',
            ),
            "bad configuration: no stream",
        ),
        (('{"level": "info", "event": "bye"}',), '{"level": "info", "event": "bye"}'),
        (("\x1b[2m10:00\x1b[0m [\x1b[31merror\x1b[0m] bad",), "10:00 [error] bad"),
    ],
)
def test_the_reason_is_the_last_line_that_tells_an_error(lines: tuple[str, ...], reason: str) -> None:
    assert last_error(lines) == reason


async def test_a_worker_that_keeps_dying_is_started_ever_more_slowly() -> None:
    lines = Lines()
    async with supervised([program("a", ENDS_WITH.format(70))], os.environ, lines.tell):
        await lines.until("starting it again", times=3)
    pauses = [line.rpartition(" in ")[2] for line in lines.said]
    assert pauses[:3] == ["0.1 s", "0.2 s", "0.4 s"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_no_worker_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    source = (
        "import anyio, os, sys\n"
        "from shared.run.child_process import ChildProgram\nfrom shared.run.supervisor import supervised\n"
        "async def run():\n"
        "    programs = [ChildProgram(name, (sys.executable, '-c', sys.argv[1])) for name in 'ab']\n"
        "    async with supervised(programs, os.environ, lambda *_: None) as kept:\n"
        "        await kept.ready()\n"
        "        print(*kept.pids.values(), flush=True)\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(run)\n"
    )
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", source, WORKER], env=environ, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        workers = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert select.select(workers, [], [], 0)[0] == []
        parent.kill()
    for worker in workers:
        assert select.select([worker], [], [], WITHIN_S)[0] == [worker]
        os.close(worker)
