"""A shop under attack: its server and its workers can be killed, stopped and started, and its promises be checked."""

import os
import shutil
import signal
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import anyio

from shared import catalog
from shared.access.roles import OPERATOR, TESTER
from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.run.system import apply_streams
from tests.chaos.checker import always, recomputed, settled
from tests.chaos.evidence import Evidence, gather
from tests.chaos.finding import Finding
from tests.e2e.shop import MEMBERS, Shop
from tests.processes import spawn
from tests.waiting import WITHIN_S, until

CHECKED_EVERY_S = 0.25
LINES_AT_MOST, LINE_AT_MOST = 20, 400
KILLED = -signal.SIGKILL


class Stage(Shop):
    """A shop whose every part can be killed, stopped or replaced."""

    _at_rest: Evidence | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings of the workers, which stay the same."""
        return catalog.read_settings(
            {name: value for name, value in self.environ.items() if name.startswith("CHORUS_")}
        )

    @property
    def databases(self) -> dict[str, Path]:
        """The database of each member."""
        return {name: self.data_dir(name) / f"{name}.db" for name in MEMBERS}

    async def start(self, name: str, *arguments: str, via: str | None = None, **settings: str) -> None:
        """Start a process and wait until it is ready, through a proxy if one is given."""
        environ = self.environ
        if via is not None:
            self.environ = {**environ, "NATS_URL": via}
        try:
            await super().start(name, *arguments, **settings)
        finally:
            self.environ = environ
        if via is not None:
            self._peculiar.add(name)
        elif not arguments and not settings:
            self._peculiar.discard(name)

    async def arm(self, name: str, failpoint: str) -> None:
        """Start a worker that will kill itself, perhaps before it is ready."""
        context = name.partition(".")[0]
        environ = {**self.environ, "CHORUS_DATA_DIR": str(self.data_dir(context)), "CHORUS_FAILPOINT": failpoint}
        self.workers[name] = await spawn(name, (f"contexts.{context}",), environ, self.directory / f"{name}.log")

    async def close(self) -> None:
        """Stop all workers, those too that a test has stopped with SIGSTOP, and recompute what they have decided."""
        for name, worker in self.workers.items():
            if worker.running:
                self.signal(name, signal.SIGCONT)
        await super().close()
        if self._at_rest is not None:
            findings = await recomputed(self._at_rest)
            assert not findings, told(findings)

    async def evidence(self) -> Evidence:
        """Everything that the checker reads, as of now."""
        return await gather(self.brokers[TESTER], self.settings, self.databases)

    async def check_at_rest(self) -> None:
        """Wait until everything that was begun has ended, and assert the invariants; I1 to I8 hold meanwhile too.

        The evidence holds all that was decided since the stage was opened, and to recompute it takes longest. So
        `close` does so, once, with the evidence that was last at rest. The deadline cuts no check short: on a busy
        machine one can take long.
        """
        deadline = anyio.current_time() + WITHIN_S
        while True:
            evidence = await self.evidence()
            broken = always(evidence)
            assert not broken, told(broken)
            findings = settled(evidence)
            if not findings:
                self._at_rest = evidence
                return
            assert anyio.current_time() < deadline, told(findings)
            await anyio.sleep(CHECKED_EVERY_S)

    async def dies(self, name: str) -> None:
        """Wait until a worker has killed itself at its failpoint."""
        code = await self.workers[name].ended()
        assert code == KILLED, f"{name} ended with {code}\n{self.workers[name].tail}"

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a worker."""
        os.kill(self.workers[name]._process.pid, number)

    def log(self, name: str) -> str:
        """The whole log of a worker."""
        return self.workers[name].log.read_text(errors="replace")

    async def logs(self, name: str, text: str, *, after: int = 0) -> None:
        """Wait until a worker has logged a text, past the first `after` characters of its log."""
        await until(lambda: text in self.log(name)[after:], f"{name} logs {text!r}")

    def keep_a_copy(self) -> Path:
        """Copy the files of a killed server."""
        copy = self.directory / "older"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.directory / "nats" / "jetstream", copy)
        return copy

    def bring_back(self, copy: Path) -> None:
        """Replace the data of a killed server by an older copy."""
        shutil.rmtree(self.directory / "nats" / "jetstream")
        shutil.copytree(copy, self.directory / "nats" / "jetstream")

    async def api(self, subject: str, body: bytes = b"") -> bytes:
        """Ask the server's API as an operator would."""
        return await self.brokers[OPERATOR].api(f"$JS.API.{subject}", body)

    async def apply_streams(self) -> None:
        """Do what `chorus streams apply` does."""
        await apply_streams(ConnectionOptions(servers=(self._server.url,)), self.settings)


def told(findings: Sequence[Finding]) -> str:
    """The first findings, one a line."""
    return "\n".join(
        [f"{len(findings)} findings", *(str(finding)[:LINE_AT_MOST] for finding in findings[:LINES_AT_MOST])]
    )
