"""The command line: its texts, its exit codes, and the modules that it does not import for them."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

from shared.cli import COMMANDS, Command
from tests.forking import run_chorus
from tests.waiting import WITHIN_S

HEAVY = ("nats", "cyclopts", "rich", "anyio", "msgspec", "structlog", "aiosqlite", "contexts")
UNUSED_PORT = "nats://127.0.0.1:1"


def chorus(*words: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHORUS_", "NATS_"))}
    environ = {**kept, "COLUMNS": "80", "PYTHONPATH": os.getcwd(), "XDG_CONFIG_HOME": "nowhere", **environ}
    ran = anyio.run(partial(run_chorus, *words, environ=environ, cwd=cwd))
    return subprocess.CompletedProcess(words, *ran)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("streams",), ("streams", "--help")])
def test_help_names_every_command_within_eighty_columns(words: tuple[str, ...]) -> None:
    said = chorus(*words)
    assert (said.returncode, said.stderr) == (0, "")
    group = "streams" if "streams" in words else ""
    assert all(command.words in said.stdout for command in COMMANDS if command.words.startswith(group))
    assert max(map(len, said.stdout.splitlines())) <= 80


def test_help_imports_nothing_that_takes_long() -> None:
    program = (
        "import sys; from shared.cli import run; run(['--help']);"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WITHIN_S)
    assert said.stderr.strip() == "[]"


def test_a_command_imports_nats_only_when_it_connects() -> None:
    program = (
        "import sys; from shared.cli import run; run(['config', '--json']); run(['timeline', 'o-1', '--show-nats']);"
        "print([name for name in ('nats', 'rich', 'aiosqlite') if name in sys.modules], file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WITHIN_S)
    assert said.stderr.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS, ids=[command.words for command in COMMANDS])
def test_every_command_says_what_it_is_for_and_gives_an_example(command: Command) -> None:
    words = command.words
    said = chorus(*words.split(), "--help")
    assert (said.returncode, said.stderr) == (0, "")
    assert command.purpose in said.stdout
    assert f"    chorus {words}" in said.stdout
    assert max(len(line.rstrip()) for line in said.stdout.splitlines()) <= 80


@pytest.mark.parametrize(
    ("words", "mended"),
    [
        (("sned",), "there is no command 'sned' (did you mean 'send'?)"),
        (("streams", "aply"), "aply"),
        (("timeline",), "KEY"),
        (("timeline", "o.1"), "'o.1' is not a key"),
        (("replay",), "name a context and give --diff, or give --save-as-test KEY"),
        (("replay", "--save-as-test", "o.1"), "'o.1' is not a key"),
        (("replay", "bank", "--save-as-test", "o-1"), "--save-as-test takes the key of a saga, and no context"),
        (("timeline", "o-1", "--jsn"), "--jsn"),
        (("timeline", "o-1", "--out", "x.svg"), "--out needs --format"),
        (("timeline", "o-1", "--follow", "--format", "svg"), "--follow and --diff each print text or JSON"),
        (("timeline", "o-1", "--follow", "--diff", "o-2"), "--follow and --diff each print text or JSON"),
        (("timeline", "o-1", "--diff", "o.2"), "'o.2' is not a key"),
        (("flow", "--check", "--format", "svg"), "--check looks at the whole system"),
        (("worker", "paymets"), "did you mean 'payments'"),
        (("rebuild", "paymets"), "did you mean 'payments'"),
        (("reconcile", "paymets"), "did you mean 'payments'"),
        (("show", "paymets", "o-1"), "did you mean 'payments'"),
        (("parked", "ls", "paymets"), "did you mean 'payments'"),
        (("worker", "payments", "--partitions", "a"), "--partitions 'a'"),
        (("up", "--port", "1", "--server", "nats://x"), "--port starts a server, --server uses another"),
        (("up", "--copies", "0"), "--copies 0"),
    ],
)
def test_a_wrong_command_line_exits_64_with_one_line_that_helps(words: tuple[str, ...], mended: str) -> None:
    said = chorus(*words)
    assert said.returncode == 64
    assert said.stdout == ""
    assert mended in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_a_broker_that_is_away_exits_69_with_one_line() -> None:
    said = chorus("timeline", "o-1", "--server", UNUSED_PORT)
    assert said.returncode == 69
    assert "no answer from nats://127.0.0.1:1" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert said.stdout == ""


def test_a_wrong_setting_exits_78_with_what_was_meant() -> None:
    said = chorus("config", CHORUS_ORDER_DEADLIN="1s")
    assert said.returncode == 78
    assert "did you mean 'CHORUS_ORDER_DEADLINE'" in said.stderr


def test_config_lists_every_setting_with_its_source() -> None:
    said = chorus("config", "--json", CHORUS_ORDER_DEADLINE="1h")
    settings = {setting["name"]: setting for setting in json.loads(said.stdout)}
    assert settings["order_deadline"]["value"] == "1h"
    assert settings["order_deadline"]["source"] == "CHORUS_ORDER_DEADLINE"
    assert settings["dispatch_delay"]["source"] == "default"
    assert "order_deadline" in chorus("config").stdout


def test_show_nats_prints_what_a_nats_user_would_type_and_no_password() -> None:
    said = chorus("timeline", "o-1", "--show-nats", "-s", "nats://x:1", "--user", "ann", "--password", "secret")
    first, *_ = said.stdout.splitlines()
    connected = "nats --server=nats://x:1 --user=ann"
    assert first == f"{connected} sub --stream=EVENTS --all --terminate-at-end --wait=1s 'evt.*.*.*.o-1'"
    assert "secret" not in said.stdout


def test_output_in_a_pipe_has_no_colour() -> None:
    assert "\x1b" not in chorus("config").stdout + chorus("send", "--help").stdout
