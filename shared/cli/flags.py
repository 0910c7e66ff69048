"""The flags that many commands share, with the names that the nats CLI gives them."""

import os
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Group, Parameter

from shared.cli.errors import CommandError
from shared.config.connection import VARIABLES, ConnectionOptions, find_connection
from shared.config.exit_codes import Exit
from shared.config.secrets import without_password

if TYPE_CHECKING:
    from shared.adapters.jetstream import JetStream

CONNECTION = Group("Connection", sort_key=90)

OPERATOR, PRODUCER, TESTER = "operator", "producer", "tester"
"""The roles of `shared/access/roles.py` as which commands connect; that module takes long to import."""


@Parameter(name="*", group=CONNECTION)
@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where to connect and as whom."""

    server: Annotated[str | None, Parameter(name=("--server", "-s"), help="NATS server URL [NATS_URL]")] = None
    context: Annotated[str | None, Parameter(help="saved nats context [NATS_CONTEXT]")] = None
    creds: Annotated[str | None, Parameter(help="credentials file [NATS_CREDS]")] = None
    nkey: Annotated[str | None, Parameter(help="nkey seed file [NATS_NKEY]")] = None
    user: Annotated[str | None, Parameter(help="user name, or a token [NATS_USER]")] = None
    password: Annotated[str | None, Parameter(help="password [NATS_PASSWORD]")] = None
    cert: Annotated[str | None, Parameter(name=("--tlscert", "--cert"), help="TLS certificate [NATS_CERT]")] = None
    key: Annotated[str | None, Parameter(name=("--tlskey", "--key"), help="TLS key [NATS_KEY]")] = None
    ca: Annotated[str | None, Parameter(name=("--tlsca", "--ca"), help="TLS authorities [NATS_CA]")] = None

    @property
    def given(self) -> Mapping[str, str]:
        """The given flags, by the names of VARIABLES and `context`."""
        return {name: value for name in (*VARIABLES, "context") if (value := getattr(self, name, None))}

    def options(self, user: str) -> ConnectionOptions:
        """The connection options of flags and environment, with the seed of `user` unless they name a login.

        Raises:
            ConnectionOptionsError: names the flag, variable or file to correct.
            SettingsError: CHORUS_DATA_DIR or CHORUS_ACCESS_DIR cannot be used.
        """
        from shared.access.login import login
        from shared.config.environment import load_settings

        return login(find_connection(os.environ, self.given), user, load_settings(os.environ, all_declared=False).seeds)

    @asynccontextmanager
    async def connected(self, purpose: str, role: str = TESTER) -> AsyncIterator["JetStream"]:
        """Connect for one command, as the role that it needs. Only errors are logged; the command reports the rest."""
        from shared.adapters.jetstream import connect
        from shared.config import log
        from shared.ports.broker import STREAM_NOT_FOUND, BrokerRefusedError

        log.configure("debug" if os.environ.get("CHORUS_LOG_LEVEL") == "debug" else "error", "auto", context="cli")
        broker = await connect(self.options(role), name=f"chorus {purpose}")
        try:
            yield broker
        except BrokerRefusedError as error:
            if error.code != STREAM_NOT_FOUND:
                raise
            raise CommandError(Exit.MISCONFIGURED, f"{error.text}; run chorus streams apply") from error
        finally:
            await broker.close()

    @property
    def _secret(self) -> tuple[str, ...]:
        """The flags that are not shown. A user without a password is a token."""
        has_password = self.password is not None or bool(os.environ.get(VARIABLES["password"]))
        return ("password",) if has_password else ("password", "user")

    def variables(self, *, shown: bool = False) -> Mapping[str, str]:
        """The flags as variables for a child process: other users cannot read its environment.

        Those that may be `shown` contain no password and no token.
        """
        variables = {**VARIABLES, "context": "NATS_CONTEXT"}
        left_out = self._secret if shown else ()
        return {
            variables[name]: without_password(value) if shown else value
            for name, value in self.given.items()
            if name not in left_out
        }

    def nats(self, *words: str) -> str:
        """A command line of the nats CLI with the same connection, without a password or a token."""
        shown = {name: value for name, value in self.given.items() if name not in self._secret}
        spelled = {"cert": "tlscert", "key": "tlskey", "ca": "tlsca"}
        flags = [f"--{spelled.get(name, name)}={without_password(value)}" for name, value in shown.items()]
        return shlex.join(["nats", *flags, *words])


HERE = Connection()
"""No connection flags; the environment decides."""

Json: TypeAlias = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="print JSON")]
ShowNats: TypeAlias = Annotated[
    bool, Parameter(name="--show-nats", negative="", show_default=False, help="only print the nats commands for it")
]


def seconds(timeout: str) -> float:
    """Return the seconds of `--timeout`; raises CommandError."""
    from shared.config.units import parse_duration

    try:
        return parse_duration(timeout).total_seconds()
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"--timeout: {error}") from error
