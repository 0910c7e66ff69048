"""Starts `python -m MODULE …` by forking a process that has imported everything already.

A worker spends about a second of CPU on its imports, and the tests start some two hundred workers. Each forked worker
is a process of its own, with its own session, environment and output. tests/e2e/test_up.py starts real commands.

The forking process has no threads and no event loop, so its forks are safe. For each request it forks a keeper, which
forks the worker, waits for it, and writes its pid and its exit code into a pipe. The kernel kills them when the process
of the tests ends.
"""

import atexit
import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import anyio

from shared.run.die_with_parent import PR_SET_PDEATHSIG

MACHINERY = ("shared.cli", "shared.worker")
SHOP = "contexts"
"""Packages whose modules are imported before the first fork; a process in another directory may have other contexts."""
LATE = ("anyio._backends._asyncio", "cyclopts.help", "nkeys", "uvloop")
"""Modules that those import only when they run."""
REQUEST_AT_MOST = 1 << 17
NEWS_AT_MOST = 64


class ForkedProcess:
    """A running or ended process; the interface is that of asyncio's subprocesses."""

    def __init__(self, pid: int, news: int) -> None:
        self.pid = pid
        self._news = news
        self._returncode: int | None = None
        self._reading = anyio.Lock()

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended the process; None while it runs."""
        if self._returncode is None:
            try:
                said = os.read(self._news, NEWS_AT_MOST)
            except BlockingIOError:
                return None
            os.close(self._news)
            self._returncode = int(said)
        return self._returncode

    async def wait(self) -> int:
        """Wait until the process has ended; its exit code."""
        async with self._reading:
            while (code := self.returncode) is None:
                await anyio.wait_readable(self._news)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process with -9."""
        self.send_signal(signal.SIGKILL)


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    output: str
    errors: str


async def run_module(*words: str, environ: Mapping[str, str], cwd: Path | None = None) -> Ran:
    """Run `python -m MODULE ARGUMENTS…` to its end."""
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = await fork(words, environ, output, errors, cwd=cwd)
        code = await process.wait()
        output.seek(0)
        errors.seek(0)
        return Ran(code, output.read().decode(), errors.read().decode())


async def run_chorus(*words: str, environ: Mapping[str, str], cwd: Path | None = None) -> Ran:
    """Run a `chorus` command to its end."""
    return await run_module("shared.cli", *words, environ=environ, cwd=cwd)


async def fork(
    words: Sequence[str],
    environ: Mapping[str, str],
    output: IO[bytes],
    errors: IO[bytes] | None = None,
    *,
    umask: int | None = None,
    cwd: Path | None = None,
) -> ForkedProcess:
    """Start `python -m MODULE ARGUMENTS…`; without a file of their own, its errors go to its output.

    In another directory it imports the contexts that are there.
    """
    news, told = os.pipe()
    try:
        asked = {"words": list(words), "environ": dict(environ), "umask": umask, "cwd": cwd and str(cwd)}
        request = json.dumps(asked).encode()
        assert len(request) < REQUEST_AT_MOST
        packages = MACHINERY if cwd else (*MACHINERY, SHOP)
        socket.send_fds(_forking_process(*packages), [request], [output.fileno(), (errors or output).fileno(), told])
    finally:
        os.close(told)
    os.set_blocking(news, False)
    await anyio.wait_readable(news)
    line = b""
    while not line.endswith(b"\n"):  # The exit code may be there already, on the next line.
        line += os.read(news, 1)
    return ForkedProcess(int(line), news)


@cache
def _forking_process(*packages: str) -> socket.socket:
    """The connection to the forking process of this test process that has imported these packages."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking", str(theirs.fileno()), *packages],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(asking: socket.socket, packages: Sequence[str]) -> None:
    """Fork a keeper for each request, until the process of the tests has ended."""
    for package in packages:
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.endswith(".__main__"):
                import_module(module.name)
    for late in LATE:
        import_module(late)
    gc.freeze()  # A collection in a fork would copy the pages of everything that was imported.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    us = os.getpid()
    while True:
        request, fds, _, _ = socket.recv_fds(asking, REQUEST_AT_MOST, 3)
        if not request:
            return
        if os.fork() == 0:
            asking.close()
            _end_with(us)
            _keep(json.loads(request), *fds)
        for fd in fds:
            os.close(fd)


def _keep(request: Mapping[str, object], output: int, errors: int, told: int) -> None:
    """Fork the worker, and tell its pid and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    us = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.setsid()
        _end_with(us)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.close(output)
        os.close(errors)
        os._exit(_run(**request))  # type: ignore[arg-type]
    os.write(told, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _run(words: Sequence[str], environ: Mapping[str, str], umask: int | None, cwd: str | None) -> int:
    """Do what `python -m` does; the exit code."""
    if cwd is not None:
        os.chdir(cwd)
        sys.path[0] = cwd
    if umask is not None:
        os.umask(umask)
    os.environ.clear()
    os.environ.update(environ)
    module, *arguments = words
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, as `die_with_parent` does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
