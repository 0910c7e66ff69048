"""docs/ledger.md does what it says: its commands run one after the other, and show what the page shows."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import anyio
import pytest

from shared.access.directory import seed_file
from shared.config.connection import INBOX
from tests.architecture.pages import DOCS
from tests.e2e.shop import NATS_CLI, Shop
from tests.guarded import SECURE
from tests.waiting import WITHIN_S

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
STEP = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
LOOK_AGAIN_S = 0.05

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(NATS_CLI is None, reason="there is no nats command on the PATH; .ci/run builds it"),
]


class Typist:
    """Types the commands of the page; the times that the page shows stand for the times that it has seen."""

    def __init__(self, shop: Shop) -> None:
        self._environ = {
            **shop.environ,
            "CHORUS_DATA_DIR": str(shop.data_dir("bank")),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self._times: dict[str, str] = {}

    async def type(self, command: str) -> str:
        """Run a command and return the output."""
        words = shlex.split(TIME.sub(lambda time: self._times[time[0]], command))
        login = self._login(words) if SECURE else ()
        process = await asyncio.create_subprocess_exec(
            *words, *login, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=self._environ
        )
        output, _ = await process.communicate()
        return output.decode()

    def _login(self, words: list[str]) -> tuple[str, ...]:
        """The login of the user that may give this command: a producer sends commands, and payments asks the bank."""
        match words[:2]:
            case ["nats", "pub"]:
                return ("--context", "chorus-producer")
            case ["nats", "req"]:
                seed = seed_file(Path(self._environ["CHORUS_ACCESS_DIR"]), "payments")
                return ("--nkey", str(seed), "--inbox-prefix", f"{INBOX}payments")
            case _:
                return ()

    def is_shown(self, shown: str, said: str) -> bool:
        """Whether this is what the page shows, times aside; remembers the times."""
        if TIME.sub("…", shown).rstrip() != TIME.sub("…", said).rstrip():
            return False
        self._times.update(zip(TIME.findall(shown), TIME.findall(said), strict=True))
        return True


async def test_the_commands_of_the_page_show_what_it_shows(open_shop: Shop) -> None:
    typist = Typist(open_shop)
    steps = STEP.findall("".join(DOCS["ledger"].blocks("console")))
    assert len(steps) > 15
    for command, shown in steps:
        said = await typist.type(command)
        with anyio.move_on_after(WITHIN_S):  # The stream has a command a moment before the bank has decided it.
            while command.startswith("chorus show") and not typist.is_shown(shown, said):
                await anyio.sleep(LOOK_AGAIN_S)
                said = await typist.type(command)
        assert typist.is_shown(shown or said, said), (command, shown, said)
        assert shown or "Stored in Stream: COMMANDS" in said, (command, said)
