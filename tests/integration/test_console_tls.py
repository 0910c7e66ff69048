"""The console speaks TLS with the certificate of its settings, and names a certificate that cannot be used."""

import shlex
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from shared import catalog
from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.config.settings import Settings, SettingsError
from shared.console.access import Access
from shared.console.console import Console
from shared.console.serve import bind, serve
from shared.console.sources import Sources
from shared.console.tls import Certificate, certificate
from shared.inspect.saga_reader import SagaReader
from shared.ports.broker import Broker, BrokerUnavailableError
from tests.certificates import make_certificates, openssl


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


class Away:
    """A broker that answers nothing."""

    def __getattr__(self, name: str) -> Any:
        raise BrokerUnavailableError("nats: no server answers")


def console_of(data_dir: Path) -> Console:
    settings = catalog.settings_with({"data_dir": data_dir})
    databases, clock, away = SqliteDatabases(data_dir), SystemClock(), cast(Broker, Away())

    async def differences() -> Sequence[str]:
        return ()

    sources = Sources(
        settings=settings,
        broker=away,
        databases=databases,
        clock=clock,
        reader=SagaReader(settings, databases, clock),
        journals=(),
        nats=lambda *words: shlex.join(["nats", *words]),
        differences=differences,
    )
    return Console(sources, Access())


@asynccontextmanager
async def console_with_tls(directory: Path, files: Path) -> AsyncIterator[tuple[str, Console]]:
    """The address of a console, and the console."""
    console, listener, ready = console_of(directory), bind("127.0.0.1", 0), anyio.Event()
    tls = certificate(Settings(console_cert=files / "server.pem", console_key=files / "server.key"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(serve, console, listener, ready.set, tls=tls))
        await ready.wait()
        yield f"127.0.0.1:{listener.getsockname()[1]}", console
        tasks.cancel_scope.cancel()


async def ask(url: str, authority: Path | None, body: dict[str, str] | None = None) -> Any:
    """The answer, which is not followed to another page; raises URLError."""
    context = ssl.create_default_context(cafile=authority)

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), Stay())
    request = urllib.request.Request(url, None if body is None else urllib.parse.urlencode(body).encode())

    def read() -> Any:
        try:
            return opener.open(request, timeout=10)
        except urllib.error.HTTPError as error:
            return error

    return await anyio.to_thread.run_sync(read)


async def test_console_speaks_tls_and_sends_its_cookie_over_tls_only(tmp_path: Path, certificates: Path) -> None:
    async with console_with_tls(tmp_path, certificates) as (address, console):
        authority = certificates / "ca.pem"
        with await ask(f"https://{address}/login", authority) as page:
            assert page.status == 200
        token = console.access.of_role("reader").token
        with await ask(f"https://{address}/login", authority, {"token": token}) as page:
            assert page.status == 303
            assert {"Secure", "HttpOnly"} <= set(page.headers["set-cookie"].split("; "))
        with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
            await ask(f"https://{address}/login", certificates / "other-ca.pem")


def test_console_without_a_certificate_speaks_none(certificates: Path) -> None:
    assert certificate(Settings()) is None
    found = certificate(Settings(console_cert=certificates / "server.pem", console_key=certificates / "server.key"))
    assert found == Certificate(certificates / "server.pem", certificates / "server.key")


@pytest.mark.parametrize(
    ("cert", "key", "told"),
    [
        ("server.pem", None, "CHORUS_CONSOLE_CERT and CHORUS_CONSOLE_KEY belong together"),
        (None, "server.key", "CHORUS_CONSOLE_CERT and CHORUS_CONSOLE_KEY belong together"),
        ("no-such.pem", "server.key", r"CHORUS_CONSOLE_CERT: .*no-such.pem cannot be read: No such file"),
        ("server.pem", "no-such.key", r"CHORUS_CONSOLE_KEY: .*no-such.key cannot be read: No such file"),
        ("server.pem", "client.key", "are no certificate with its key"),
        ("server.key", "server.key", "are no certificate with its key"),
        ("server.pem", "locked.key", "or the key has a password"),
    ],
)
def test_certificate_that_cannot_be_used_is_named(
    certificates: Path, cert: str | None, key: str | None, told: str
) -> None:
    openssl(certificates, "ec", "-in", "server.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    files = [None if name is None else certificates / name for name in (cert, key)]
    with pytest.raises(SettingsError, match=told):
        certificate(Settings(console_cert=files[0], console_key=files[1]))
