"""Letters on a real disk and to a real mail server; both mailers pass the same suite."""

import asyncio
import os
import shutil
import ssl
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

import aiosmtplib
import anyio
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from contexts.kernel import MailChannel, OrderId
from contexts.mail import Letter, MailDirectory, Mailer, MailServer
from contexts.notifications.commands import RecordSent
from contexts.notifications.events import NotificationQueued
from contexts.notifications.settings import NotificationsSettings
from contexts.notifications.worker import context
from shared.config.secrets import SecretUrl

CONTENT = b"Message-ID: <1@chorus.example>\r\nFrom: shop@chorus.example\r\nTo: ada@shop.example\r\n\r\nHello.\r\n"
LETTER = Letter("o-42-order_received", "shop@chorus.example", "ada@shop.example", CONTENT)
TIMEOUT_S = 5.0
NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)


class Inbox:
    """A mail server's handler that keeps letters, and answers as it is told."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.to_recipient = "250 OK"
        self.to_content = "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name for it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if self.to_recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.to_recipient

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name for it
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        del server, session
        assert isinstance(envelope.content, bytes)
        if self.to_content.startswith("250"):
            self.received.append(envelope.content)
        return self.to_content


@asynccontextmanager
async def mail_server(inbox: Inbox, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[str]:
    """An SMTP server on a free port of this machine; gives `host:port`."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(inbox, loop=loop, **options), "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture(params=["directory", "smtp"])
async def mailer(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Mailer, Callable[[], list[bytes]]]]:
    """A mailer, and what has left through it."""
    if request.param == "directory":
        yield MailDirectory(tmp_path / "mail"), lambda: [path.read_bytes() for path in (tmp_path / "mail").iterdir()]
        return
    inbox = Inbox()
    async with mail_server(inbox) as address:
        yield MailServer(f"smtp://{address}", TIMEOUT_S), lambda: inbox.received


async def test_letter_leaves_whole(mailer: tuple[Mailer, Callable[[], list[bytes]]]) -> None:
    sending, left = mailer
    assert await sending.send(LETTER) is None
    assert left() == [CONTENT]


async def test_letter_sent_again_can_be_told_by_its_message_id(
    mailer: tuple[Mailer, Callable[[], list[bytes]]],
) -> None:
    sending, left = mailer
    assert await sending.send(LETTER) is None
    assert await sending.send(LETTER) is None
    assert {message_from_bytes(content)["Message-ID"] for content in left()} == {"<1@chorus.example>"}


async def test_letters_of_one_moment_are_files_of_their_own_for_their_owner_only(tmp_path: Path) -> None:
    sending = MailDirectory(tmp_path / "mail")
    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(sending.send, LETTER._replace(name=f"o-{number % 25}-order_received"))
    files = sorted((tmp_path / "mail").iterdir())
    assert [path.name for path in files] == sorted(f"o-{number}-order_received.eml" for number in range(25))
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "mail").stat().st_mode) == 0o700


async def test_letter_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await MailDirectory(tmp_path).send(LETTER._replace(name="missing/o-42"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("to_recipient", "to_content", "refusal"),
    [("550 no such user", "250 OK", "address_refused"), ("250 OK", "554 spam", "letter_refused")],
)
async def test_permanent_no_is_a_refusal(to_recipient: str, to_content: str, refusal: str) -> None:
    inbox = Inbox()
    inbox.to_recipient, inbox.to_content = to_recipient, to_content
    async with mail_server(inbox) as address:
        assert await MailServer(f"smtp://{address}", TIMEOUT_S).send(LETTER) == refusal


@pytest.mark.parametrize(("to_recipient", "to_content"), [("450 try later", "250 OK"), ("250 OK", "451 try later")])
async def test_passing_no_is_not_known_so_it_is_asked_again(to_recipient: str, to_content: str) -> None:
    inbox = Inbox()
    inbox.to_recipient, inbox.to_content = to_recipient, to_content
    async with mail_server(inbox) as address:
        sending = MailServer(f"smtp://{address}", TIMEOUT_S)
        with pytest.raises(aiosmtplib.SMTPException):
            await sending.send(LETTER)
        inbox.to_recipient = inbox.to_content = "250 OK"
        assert await sending.send(LETTER) is None


async def test_server_that_is_away_is_not_known_so_it_is_asked_again() -> None:
    async with mail_server(Inbox()) as address:
        pass
    with pytest.raises(aiosmtplib.SMTPConnectError):
        await MailServer(f"smtp://{address}", TIMEOUT_S).send(LETTER)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS of a server at 127.0.0.1, and of a client that trusts it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so there is no certificate to speak TLS with")
    directory = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=directory, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return server, ssl.create_default_context(cafile=directory / "cert.pem")


def authenticated(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: object) -> AuthResult:
    del server, session, envelope, mechanism
    return AuthResult(success=login == LoginPassword(b"shop", b"s3c:ret"), handled=False)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("password", ["s3c%3Aret", "wrong"])
async def test_password_is_said_over_tls(
    scheme: str, password: str, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = certificate
    inbox = Inbox()
    tls = {"tls": server, "auth_require_tls": False} if scheme == "smtps" else {"tls_context": server}
    async with mail_server(inbox, authenticator=authenticated, **tls) as address:
        sending = MailServer(f"{scheme}://shop:{password}@{address}", TIMEOUT_S, client)
        if password == "wrong":
            with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                await sending.send(LETTER)
        else:
            assert await sending.send(LETTER) is None
    assert inbox.received == ([] if password == "wrong" else [CONTENT])


async def test_password_is_never_said_without_tls() -> None:
    said: list[object] = []

    def listening(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: object) -> AuthResult:
        del server, session, envelope, mechanism
        said.append(login)
        return AuthResult(success=True)

    async with mail_server(Inbox(), authenticator=listening, auth_require_tls=False) as address:
        with pytest.raises(aiosmtplib.SMTPException):
            await MailServer(f"smtp://shop:secret@{address}", TIMEOUT_S).send(LETTER)
    assert said == []


@pytest.mark.parametrize(
    "url", ["http://mail.example", "mail.example", "smtp://", "smtp://shop:hush@", "smtp://shop:hush/hush@mail"]
)
def test_url_of_no_mail_server_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="CHORUS_SMTP_URL") as error:
        MailServer(url, TIMEOUT_S)
    assert "hush" not in str(error.value)


class FirstCall:
    """A call that needs no NATS."""

    idempotency_key = "notifications/notification-o-42@1"
    attempt = 1
    now = NINE

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        raise AssertionError(f"a letter asks nobody, not even {subject}: {headers} {body!r}")


async def test_letters_go_to_the_directory_unless_a_server_is_set(tmp_path: Path) -> None:
    queued = NotificationQueued(
        order_id=OrderId("o-42"), template="order_received", email="ada@shop.example", subject="Received", text="Hello."
    )
    async with mail_server(Inbox()) as address:
        to_server = NotificationsSettings(data_dir=tmp_path / "one", smtp_url=SecretUrl(f"smtp://{address}"))
        to_directory = NotificationsSettings(data_dir=tmp_path / "two")
        ways: tuple[tuple[NotificationsSettings, MailChannel], ...] = ((to_server, "smtp"), (to_directory, "directory"))
        for settings, channel in ways:
            (mailing,) = context(settings).effects
            outcome = await mailing.call(queued, FirstCall())
            assert outcome == RecordSent(order_id=OrderId("o-42"), template="order_received", channel=channel)
    assert os.listdir(tmp_path / "two" / "mail") == ["o-42-order_received.eml"]
