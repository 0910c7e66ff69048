"""TLS to the server, and certificates of clients (mutual TLS), with the flags and variables of the `nats` command."""

import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.access.directory import apply, public_keys
from shared.access.login import login
from shared.access.of_system import users_of
from shared.access.server import authorization
from shared.adapters.jetstream import connect
from shared.config.connection import ConnectionOptionsError, find_connection
from shared.config.settings import Settings
from shared.ports.broker import BrokerUnavailableError
from shared.run.server import LocalServer, local_server
from tests.certificates import make_certificates
from tests.forking import run_chorus

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def server_with_tls(directory: Path, certificates: Path, **more: Any) -> AsyncIterator[LocalServer]:
    tls = {"cert_file": str(certificates / "server.pem"), "key_file": str(certificates / "server.key"), **more}
    access = directory / "access"
    users = users_of(Settings())
    apply(access, users)
    users_too = {"authorization": authorization(users, public_keys(access))}
    async with local_server(directory / "nats", more={"tls": tls, **users_too}) as server:
        yield server


def variables(server: LocalServer, **files: Path) -> Mapping[str, str]:
    return {"NATS_URL": server.url.replace("nats://", "tls://"), **{name: str(file) for name, file in files.items()}}


async def reaches(directory: Path, environ: Mapping[str, str]) -> None:
    """Connect as a user and ask something."""
    broker = await connect(login(find_connection(environ), "monitor", directory / "access"), name="tests")
    try:
        await broker.api("$JS.API.INFO", b"")
    finally:
        await broker.close()


async def test_connection_is_encrypted_and_the_server_is_who_it_says(tmp_path: Path, certificates: Path) -> None:
    async with server_with_tls(tmp_path, certificates) as server:
        await reaches(tmp_path, variables(server, NATS_CA=certificates / "ca.pem"))
        for untrusted in ({}, {"NATS_CA": certificates / "other-ca.pem"}):
            with pytest.raises(BrokerUnavailableError, match="certificate verify failed"):
                await reaches(tmp_path, variables(server, **untrusted))


async def test_client_without_a_certificate_of_the_authority_is_not_let_in(tmp_path: Path, certificates: Path) -> None:
    mutual = {"ca_file": str(certificates / "ca.pem"), "verify": True}
    async with server_with_tls(tmp_path, certificates, **mutual) as server:
        ca = {"NATS_CA": certificates / "ca.pem"}
        own = {"NATS_CERT": certificates / "client.pem", "NATS_KEY": certificates / "client.key"}
        stranger = {"NATS_CERT": certificates / "stranger.pem", "NATS_KEY": certificates / "stranger.key"}
        await reaches(tmp_path, variables(server, **ca, **own))
        for without in ({}, stranger):
            with pytest.raises(BrokerUnavailableError):
                await reaches(tmp_path, variables(server, **ca, **without))


async def test_commands_take_the_flags_of_the_nats_command(tmp_path: Path, certificates: Path) -> None:
    mutual = {"ca_file": str(certificates / "ca.pem"), "verify": True}
    async with server_with_tls(tmp_path, certificates, **mutual) as server:
        environ = {"PATH": "", "HOME": str(tmp_path), "CHORUS_DATA_DIR": str(tmp_path)}
        flags = ("--server", server.url.replace("nats://", "tls://"), "--tlsca", str(certificates / "ca.pem"))
        own = ("--tlscert", str(certificates / "client.pem"), "--tlskey", str(certificates / "client.key"))
        applied = await run_chorus("streams", "apply", *flags, *own, environ=environ)
        assert applied.code == 0, applied.errors
        refused = await run_chorus("streams", "plan", *flags, environ=environ)
        assert refused.code == 69, refused.errors


async def test_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hunter2")
    options = find_connection({"NATS_URL": "tls://127.0.0.1:1", "NATS_CA": str(tmp_path / "ca.pem")})
    with pytest.raises(ConnectionOptionsError, match=r"ca\.pem cannot be used"):
        await connect(options, name="tests")


def test_server_understands_the_snippet_for_tls(certificates: Path, tmp_path: Path) -> None:
    text = (ROOT / "deploy/nats/tls.conf").read_text().replace("/etc/nats/tls", str(certificates))
    (tmp_path / "nats.conf").write_text(f'listen: "127.0.0.1:-1"\n{text}')
    server = Path(sys.executable).with_name("nats-server")
    checked = subprocess.run(
        [server, "-t", "-c", tmp_path / "nats.conf"], capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stderr
