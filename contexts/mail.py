"""Sends letters: as files in a directory, or to a mail server.

A letter is written out header by header: eight headers and plain text, and email.message takes 0.7 ms for them. Files
are written in a thread of asyncio, many letters at once.
"""

import asyncio
import ctypes
import os
import re
import ssl
from binascii import b2a_qp
from collections.abc import Sequence
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib

from contexts.batching import Batcher
from contexts.kernel import MailChannel, MailRefusal
from contexts.mail_settings import MailSettings
from shared.wire.messages import content_hash

LETTERS_AT_ONCE = 256
LETTERS_WAITING = 1_000
PLAIN_SUBJECT_AT_MOST = 60
"""Characters; a longer one goes through email.header, which may fold it."""
WRITE_IT = "CHORUS_SMTP_URL: write it like smtp[s]://user:password@host:port"

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
"""An address without quotes, comments or non-ASCII letters; a header can carry it as it is."""


class Letter(NamedTuple):
    """A finished mail; `name` tells it from every other."""

    name: str
    sender: str
    recipient: str
    content: bytes


class Mailer(Protocol):
    """Takes letters. Given one letter twice, it may send it twice, under one Message-ID."""

    @property
    def channel(self) -> MailChannel:
        """The channel through which its letters leave."""
        ...

    async def send(self, letter: Letter) -> MailRefusal | None:
        """Send it: None once it has left, or why it never will. Any exception means that the outcome is unknown."""
        ...


class MailDirectory:
    """Letters as files `<name>.eml`, whole and on disk when they appear; only their owner may read them."""

    channel: ClassVar[MailChannel] = "directory"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._letters = Batcher(self._write_together, batch_at_most=LETTERS_AT_ONCE, waiting_at_most=LETTERS_WAITING)

    async def send(self, letter: Letter) -> MailRefusal | None:
        """Write it, unless it was written before."""
        trouble = await self._letters.put(letter)
        if trouble is not None:
            raise trouble
        return None

    async def _write_together(self, letters: Sequence[Letter]) -> list[OSError | None]:
        return await asyncio.to_thread(self._write, letters)

    def _write(self, letters: Sequence[Letter]) -> list[OSError | None]:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            unfinished = [self._begin(letter, number) for number, letter in enumerate(letters)]
            sync_file_system(directory)
            troubles = [self._finish(letter, file) for letter, file in zip(letters, unfinished, strict=True)]
            os.fsync(directory)
        finally:
            os.close(directory)
        return troubles

    def _begin(self, letter: Letter, number: int) -> str | OSError | None:
        """Write the letter into an unfinished file and return its path; None when the letter was written before."""
        if os.path.exists(self._target(letter)):
            return None
        unfinished = f"{self._directory}/.{letter.name}.{os.getpid()}-{number}"
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb", buffering=0) as file:
                file.write(letter.content)
        except OSError as trouble:
            return trouble
        return unfinished

    def _finish(self, letter: Letter, unfinished: str | OSError | None) -> OSError | None:
        if not isinstance(unfinished, str):
            return unfinished
        try:
            os.replace(unfinished, self._target(letter))
        except OSError as trouble:
            return trouble
        return None

    def _target(self, letter: Letter) -> str:
        return f"{self._directory}/{letter.name}.eml"


def sync_file_system(descriptor: int) -> None:
    """Bring all that was written to this descriptor's file system to the disk: one sync, however many files.

    A sync for each letter took 3 times the processor's time, and held up every other sync on the disk. Raises OSError.
    """
    if _syncfs is None:
        os.sync()
    elif _syncfs(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


class MailServer:
    """Letters over SMTP: `smtps://` speaks TLS, `smtp://` upgrades to it when the server can.

    A password is never sent without TLS. A letter is refused for good when the server says 5xx to its recipient or its
    content. A refusal of our sender or our password can be mended, so such letters wait.
    """

    channel: ClassVar[MailChannel] = "smtp"

    def __init__(self, url: str, timeout_s: float, tls_context: ssl.SSLContext | None = None) -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError:  # Its message may quote a part of the password, taken for a port.
            raise ValueError(f"{WRITE_IT} (and in a password %2F for /, %40 for @)") from None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError(WRITE_IT)
        self._host = parts.hostname
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._use_tls = parts.scheme == "smtps"
        self._timeout_s = timeout_s
        self._tls_context = tls_context

    async def send(self, letter: Letter) -> MailRefusal | None:
        """Hand it to the server."""
        must_upgrade = True if self._user and not self._use_tls else None
        try:
            await aiosmtplib.send(
                letter.content,
                sender=letter.sender,
                recipients=[letter.recipient],
                hostname=self._host,
                port=self._port,
                username=self._user,
                password=self._password,
                timeout=self._timeout_s,
                use_tls=self._use_tls,
                start_tls=False if self._use_tls else must_upgrade,
                tls_context=self._tls_context,
            )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            if all(500 <= recipient.code < 600 for recipient in refused.recipients):
                return "address_refused"
            raise
        except aiosmtplib.SMTPDataError as refused:
            if 500 <= refused.code < 600:
                return "letter_refused"
            raise
        return None


def written(
    name: str, *, sender: str, recipient: str, subject: str, text: str, date: datetime, idempotency_key: str
) -> Letter | None:
    """A letter of plain text, with a Message-ID made of the key; None when no header can carry the recipient."""
    if not _ADDRESS.fullmatch(recipient):
        return None
    domain = sender.rpartition("@")[2]
    headers = {
        "Message-ID": f"<{content_hash(idempotency_key.encode()).hex()}@{domain}>",
        "Date": format_datetime(date),
        "From": sender,
        "To": recipient,
        "Subject": _subject(" ".join(subject.split())),
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
    }
    head = "".join(f"{header}: {value}\r\n" for header, value in headers.items())
    body = b2a_qp("\r\n".join(text.splitlines()).encode() + b"\r\n")
    return Letter(name, sender, recipient, b"\r\n".join((head.encode(), body)))


def _subject(line: str) -> str:
    """A subject as its header needs it. A letter with a short, plain one takes 19 us, and 57 through email.header."""
    is_plain = line.isascii() and len(line) <= PLAIN_SUBJECT_AT_MOST
    return line if is_plain else Header(line, header_name="Subject").encode(linesep="\r\n")


def mailer(settings: MailSettings) -> Mailer:
    """A mail server where a URL is set, or else the directory; raises ValueError for a URL that cannot be used."""
    if settings.smtp_url is not None:
        return MailServer(settings.smtp_url, settings.effect_timeout.total_seconds())
    assert settings.mail_dir is not None, "settings always name a directory"
    return MailDirectory(settings.mail_dir)
