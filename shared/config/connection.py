"""Finds the NATS server and the credentials as the nats CLI does, so that both always connect to the same server.

Each value comes from the first source that has it: a flag, a `NATS_…` variable, the nats context that is named or
selected (ADR-21), the default.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from shared.config.login_files import LoginFileError, check_credentials, check_nkey
from shared.config.nats_context import NatsContextError, read_context
from shared.config.secrets import Secret, without_password

DEFAULT_SERVER = "nats://127.0.0.1:4222"
DEFAULT_PORT = 4222
INBOX = "_INBOX_"
"""The beginning of the inbox prefix of every user that `chorus access` makes; the user's name follows."""

VARIABLES = {
    "server": "NATS_URL",
    "creds": "NATS_CREDS",
    "nkey": "NATS_NKEY",
    "user": "NATS_USER",
    "password": "NATS_PASSWORD",
    "token": "NATS_TOKEN",
    "cert": "NATS_CERT",
    "key": "NATS_KEY",
    "ca": "NATS_CA",
}
"""The variables of the nats CLI by what they set; `NATS_CONTEXT` names the context file."""

_FILES = ("creds", "nkey", "cert", "key", "ca")


class ConnectionOptionsError(ValueError):
    """The connection options are wrong, or a file that they name cannot be read."""


class ConnectionOptions(Struct, frozen=True, kw_only=True):
    """Where to connect and as whom. `servers` never contain a password; `source` says where they were named."""

    servers: tuple[str, ...] = (DEFAULT_SERVER,)
    source: str = "default"
    creds: Path | None = None
    nkey: Path | None = None
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    tls_first: bool = False
    inbox_prefix: str | None = None

    @property
    def has_login(self) -> bool:
        """Whether they say who connects; a certificate alone may or may not."""
        return any(one is not None for one in (self.creds, self.nkey, self.user, self.token))

    @property
    def acts_as(self) -> str | None:
        """The name of the user, as far as it is known here."""
        if self.user is None and self.inbox_prefix is not None and self.inbox_prefix.startswith(INBOX):
            return self.inbox_prefix.removeprefix(INBOX)
        return self.user

    def client_arguments(self) -> dict[str, Any]:
        """The arguments of nats-py's `connect`. Raises ConnectionOptionsError when a file of the login is not valid."""
        try:
            files = {
                "user_credentials": check_credentials(self.creds) if self.creds else None,
                "nkeys_seed": check_nkey(self.nkey) if self.nkey else None,
            }
        except (LoginFileError, OSError) as error:
            raise ConnectionOptionsError(str(error)) from error
        given = {
            **files,
            "servers": list(self.servers),
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "tls": self._tls(),
            "tls_handshake_first": self.tls_first,
            "inbox_prefix": self.inbox_prefix,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _tls(self) -> ssl.SSLContext | None:
        if not (self.cert or self.ca or self.tls_first):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(file) for file in (self.cert, self.key, self.ca) if file)
            raise ConnectionOptionsError(f"TLS files {files} cannot be used: {error}") from error
        return context


def find_connection(environ: Mapping[str, str], flags: Mapping[str, str | None] | None = None) -> ConnectionOptions:
    """Find the connection options. The keys of `flags` are those of VARIABLES, `context` and `inbox_prefix`.

    Raises:
        ConnectionOptionsError: names the flag, variable or file to correct.
    """
    flags = flags or {}
    values: dict[str, str] = {}
    sources: dict[str, str] = {}

    def add(given: Mapping[str, str | None], source: Mapping[str, str]) -> None:
        for name, value in given.items():
            if value and name not in values:
                values[name], sources[name] = value, source[name]

    add({name: value for name, value in flags.items() if name != "context"}, {name: f"--{name}" for name in flags})
    add({name: environ.get(variable) for name, variable in VARIABLES.items()}, VARIABLES)
    try:
        chosen = read_context(environ, flags.get("context") or environ.get("NATS_CONTEXT"))
    except NatsContextError as error:
        raise ConnectionOptionsError(str(error)) from error
    if chosen is not None:
        add(chosen.values, dict.fromkeys(chosen.values, f"context {chosen.name} ({chosen.file})"))
    return _options(values, sources, environ)


def _options(values: Mapping[str, str], sources: Mapping[str, str], environ: Mapping[str, str]) -> ConnectionOptions:
    source = sources.get("server", "default")
    servers, login = _servers(values.get("server", DEFAULT_SERVER), source)
    values = {**_one_identity(values), **login}
    files = {name: _file(values[name], sources[name], environ) for name in _FILES if name in values}
    if ("cert" in files) != ("key" in files):
        alone = "cert" if "cert" in files else "key"
        raise ConnectionOptionsError(
            f"{sources[alone]}: a certificate needs its key, and only the {alone} is given; give both"
        )
    return ConnectionOptions(
        servers=servers,
        source=source,
        user=values.get("user"),
        password=_secret(values.get("password")),
        token=_secret(values.get("token")),
        tls_first="tls_first" in values,
        inbox_prefix=values.get("inbox_prefix"),
        **files,
    )


def _one_identity(values: Mapping[str, str]) -> Mapping[str, str]:
    """A user wins over a credentials file, and that over an nkey, as with the CLI.

    A user without a password is a token.
    """
    unused = {"creds", "nkey"} if "user" in values else {"nkey"} if "creds" in values else set()
    renamed = {"user": "token"} if "user" in values and "password" not in values else {}
    kept = {name: value for name, value in values.items() if name not in unused and name not in renamed.values()}
    return {renamed.get(name, name): value for name, value in kept.items()}


def _secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)


def _servers(text: str, source: str) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The servers without credentials, and the credentials in their URLs: user and password, or a token."""
    servers = []
    logins = []
    for url in filter(None, (part.strip() for part in text.split(","))):
        url = url if "://" in url else f"nats://{url}"
        shown = without_password(url)
        try:
            parts = urlsplit(url)
            port = parts.port or DEFAULT_PORT
        except ValueError:  # The message may quote a part of a password as the port.
            raise ConnectionOptionsError(
                f"{source}: {shown!r} is not a server URL; use a port from 1 to 65535, and in a password write %2F"
                " for / and %40 for @"
            ) from None
        if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path.strip("/"):
            raise ConnectionOptionsError(
                f"{source}: {shown!r} is not a server URL; write nats://host:4222 or tls://host:4222"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        servers.append(f"{parts.scheme}://{host}:{port}")
        if parts.username is not None and parts.password is not None:
            logins.append({"user": unquote(parts.username), "password": unquote(parts.password)})
        elif parts.username is not None:
            logins.append({"token": unquote(parts.username)})
    if not servers:
        raise ConnectionOptionsError(f"{source}: it names no server; write nats://host:4222")
    if any(login != logins[0] for login in logins):
        raise ConnectionOptionsError(f"{source}: the URLs carry different users; give all servers the same user")
    return tuple(servers), logins[0] if logins else {}


def _file(text: str, source: str, environ: Mapping[str, str]) -> Path:
    path = Path(environ.get("HOME", "~"), text[2:]) if text.startswith("~/") else Path(text)
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConnectionOptionsError(f"{source}: {path} cannot be read: {error.strerror}") from error
    return path
