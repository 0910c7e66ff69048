"""No command writes a secret: neither into its output, settings and logs, nor into tracebacks."""

import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from shared.access.directory import apply
from shared.access.export import write_jwts
from shared.access.of_system import users_of
from shared.access.roles import ROLES
from shared.cli.commands.up import needed_elsewhere
from shared.cli.flags import Connection
from shared.config.connection import ConnectionOptions
from shared.config.secrets import Secret
from shared.config.settings import Settings
from shared.run.supervisor import Supervisor
from shared.run.system import System
from tests.e2e.shop import environment
from tests.forking import run_chorus

PLANTED = "hunter2-planted"
DEAD = "127.0.0.1:1"
LOGINS: Mapping[str, Mapping[str, str]] = {
    "in the URL": {"NATS_URL": f"nats://shop:{PLANTED}@{DEAD}"},
    "a token in the URL": {"NATS_URL": f"nats://{PLANTED}@{DEAD}"},
    "with a slash": {"NATS_URL": f"nats://shop:{PLANTED}/@{DEAD}"},
    "a password": {"NATS_URL": f"nats://{DEAD}", "NATS_USER": "shop", "NATS_PASSWORD": PLANTED},
    "a token": {"NATS_URL": f"nats://{DEAD}", "NATS_TOKEN": PLANTED},
    "of a webhook": {"NATS_URL": f"nats://{DEAD}", "CHORUS_WEBHOOK_SECRETS": f"courier={PLANTED}"},
    "of what is forwarded": {"NATS_URL": f"nats://{DEAD}", "CHORUS_FORWARD_SECRET": PLANTED},
    "of an endpoint": {"NATS_URL": f"nats://{DEAD}", "CHORUS_FORWARD_URL": f"http://shop:{PLANTED}@{DEAD}"},
    "of the console": {"NATS_URL": f"nats://{DEAD}", "CHORUS_CONSOLE_OPERATORS": f"ann={PLANTED}"},
    "for letters": {"NATS_URL": f"nats://{DEAD}", "CHORUS_SMTP_URL": f"smtp://shop:{PLANTED}@{DEAD}"},
}
COMMANDS = (("config",), ("config", "--json"), ("lag", "--json"), ("send", "bank.OpenAccount", "a-1", "owner=ann"))


@pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS.keys())
async def test_command_tells_no_secret_of_its_environment(login: Mapping[str, str], tmp_path: Path) -> None:
    environ = {**environment(f"nats://{DEAD}", tmp_path), **login, "CHORUS_LOG_LEVEL": "debug"}
    for words in COMMANDS:
        ran = await run_chorus(*words, environ=environ)
        assert PLANTED not in ran.output + ran.errors, words


@pytest.mark.parametrize(
    "flags",
    [
        ("--server", f"nats://shop:{PLANTED}@{DEAD}"),
        ("--server", f"nats://{PLANTED}@{DEAD}"),
        ("--server", f"nats://{DEAD}", "--user", "shop", "--password", PLANTED),
        ("--server", f"nats://{DEAD}", "--user", PLANTED),
    ],
    ids=lambda flags: " ".join(word for word in flags if word.startswith("--")),
)
async def test_command_tells_no_secret_of_its_flags(flags: Sequence[str], tmp_path: Path) -> None:
    environ = {**environment(f"nats://{DEAD}", tmp_path), "CHORUS_LOG_LEVEL": "debug"}
    for words in (("timeline", "o-1", "--show-nats"), ("send", "bank.OpenAccount", "a-1", "owner=ann", "--show-nats")):
        ran = await run_chorus(*words, *flags, environ=environ)
        assert "nats --server=nats://" in ran.output.replace("'", "")
        assert PLANTED not in ran.output + ran.errors, words


def test_up_tells_no_secret_of_its_flags() -> None:
    connection = Connection(server=f"nats://shop:{PLANTED}@127.0.0.1:4222", password=PLANTED)
    system = System(ConnectionOptions(), cast(Supervisor, None), {})
    needed = needed_elsewhere(system, {}, connection.variables(shown=True))
    assert needed == {"NATS_URL": "nats://127.0.0.1:4222"}
    assert connection.variables()["NATS_PASSWORD"] == PLANTED


async def test_no_command_tells_a_seed(tmp_path: Path) -> None:
    access = tmp_path / "access"
    apply(access, users_of(Settings()))
    write_jwts(access, users_of(Settings()))
    seeds = {file.read_text().strip() for file in access.glob("*.nk")}
    trust = json.loads((access / "trust.json").read_bytes())
    seeds |= {trust[name] for name in ("operator", "account", "system")}
    assert len(seeds) > 10
    environ = {**environment(f"nats://{DEAD}", tmp_path), "CHORUS_LOG_LEVEL": "debug"}
    for words in (
        ("access", "show", "--json"),
        ("access", "plan", "--json"),
        ("access", "apply", "--rotate", "ordering", "--json"),
        ("access", "apply", "--retire", "ordering", "--json"),
        ("access", "export", "--format", "jwt"),
        ("access", "export"),
        ("access", "export", "--format", "contexts"),
        ("lag",),
    ):
        ran = await run_chorus(*words, environ=environ)
        seeds |= {file.read_text().strip() for file in access.glob("*.nk")}
        assert not [seed for seed in seeds if seed in ran.output + ran.errors], words


async def test_nats_contexts_are_for_the_server_of_the_environment(tmp_path: Path) -> None:
    apply(tmp_path / "access", users_of(Settings()))
    ran = await run_chorus("access", "export", "--format", "contexts", environ=environment(f"nats://{DEAD}", tmp_path))
    written = [json.loads(file.read_bytes()) for file in (tmp_path / "config" / "nats" / "context").glob("*.json")]
    assert [one["url"] for one in written] == [f"nats://{DEAD}"] * len(ROLES), ran.errors
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "config" / "nats" / "context").iterdir()}
    assert modes == {0o600}


async def test_seed_that_is_none_is_not_quoted(tmp_path: Path) -> None:
    access = tmp_path / "access"
    apply(access, users_of(Settings()))
    (access / "tester.nk").write_text(PLANTED)
    environ = {**environment(f"nats://{DEAD}", tmp_path), "CHORUS_LOG_LEVEL": "debug"}
    for words in (("lag",), ("access", "plan")):
        ran = await run_chorus(*words, environ=environ)
        assert PLANTED not in ran.output + ran.errors, words


def test_secret_hides_itself() -> None:
    assert (repr(Secret(PLANTED)), f"{Secret(PLANTED)!r}") == ("***", "***")
