"""The settings of a process: each is a `CHORUS_…` variable of the environment, with a default that works."""

import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from shared.config.secrets import Secret

CONTEXTS_VARIABLE = "CHORUS_CONTEXTS"
PACKAGE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z"


class SettingsError(ValueError):
    """The environment cannot be used; `problems` is a line per mistake."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def contexts_package() -> str:
    """The package of contexts that runs: CHORUS_CONTEXTS, or what this directory says; raises SettingsError."""
    given = os.environ.get(CONTEXTS_VARIABLE, "")
    if not given:
        return package_here()
    return _checked(given, CONTEXTS_VARIABLE)


def package_here() -> str:
    """`[tool.chorus] contexts` of the pyproject.toml in the current directory, else `contexts`.

    Raises:
        SettingsError: the file cannot be read, or names no package.
    """
    return _package_in(Path.cwd())


@cache
def _package_in(directory: Path) -> str:
    file = directory / "pyproject.toml"
    try:
        tables = tomllib.loads(file.read_text()).get("tool", {})
    except FileNotFoundError:
        return "contexts"
    except (OSError, ValueError) as error:
        raise SettingsError((f"{file} cannot be read: {error}",)) from error
    table = tables.get("chorus", {}) if isinstance(tables, dict) else {}
    package = table.get("contexts", "contexts") if isinstance(table, dict) else table
    return _checked(package, f"{file}: [tool.chorus] contexts")


def _checked(package: Any, where: str) -> str:
    if not isinstance(package, str) or re.match(PACKAGE_NAME, package) is None:
        raise SettingsError((f"{where}: {package!r} is no package: write it like travel.contexts",))
    return package


def default_streams_file() -> Path:
    """`streams.yaml` next to the package of contexts, else the one next to `shared` or installed inside it."""
    if (own := own_streams_file()) is not None:
        return own
    shared = Path(__file__).parents[1]
    beside = shared.parent / "streams.yaml"
    return beside if beside.is_file() else shared / "streams.yaml"


def own_streams_file() -> Path | None:
    """`streams.yaml` next to the package of contexts, where there is one."""
    files = (directory / "streams.yaml" for directory in _parents_of(contexts_package()))
    return next((file for file in files if file.is_file()), None)


def _parents_of(package: str) -> Iterator[Path]:
    with suppress(ImportError):  # Importing the package later reports the mistake.
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            yield Path(location).parent


Port = Annotated[int, Meta(ge=1, le=65535)]
HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^\s]+\Z")]
S = TypeVar("S", bound="Settings")
Failpoint = Annotated[str, Meta(pattern=r"^[a-z-]+(:[1-9][0-9]{0,5})?\Z")]


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of the machinery. A context with settings of its own declares a Struct that inherits this one.

    `of_contexts` holds the values that are set for the fields of such Structs, by name.
    """

    data_dir: Annotated[Path, Meta(description="where the databases are, and the server's data under chorus up")] = (
        Path("chorus-data")
    )
    contexts: Annotated[str, Meta(pattern=PACKAGE_NAME, description="the package of contexts that runs")] = (
        msgspec.field(default_factory=package_here)
    )
    access_dir: Annotated[
        Path | None, Meta(description="where the users' seeds are; access in the data directory unless set")
    ] = None
    streams_file: Annotated[Path, Meta(description="streams, partitions and bounds")] = msgspec.field(
        default_factory=default_streams_file
    )
    batch_at_most: Annotated[int, Meta(ge=1, le=1000, description="messages decided in one commit")] = 1000
    record_inputs: Annotated[
        bool, Meta(description="keep commands, requests and outcomes in the database, for chorus replay")
    ] = True
    effect_timeout: Annotated[timedelta, Meta(description="after this an outside call's outcome is unknown")] = (
        timedelta(seconds=10)
    )
    drain_timeout: Annotated[timedelta, Meta(description="how long a stopping worker may finish its batch")] = (
        timedelta(seconds=8)
    )
    failpoint: Annotated[Failpoint | None, Meta(description="where a worker kills itself, for crash tests")] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="the lowest level that is logged")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"], Meta(description="auto: json unless a terminal shows it")
    ] = "auto"
    metrics_port: Annotated[Port | None, Meta(description="the port of /metrics; none unless set")] = None
    metrics_host: Annotated[str, Meta(description="the address /metrics answers on")] = "127.0.0.1"
    console_port: Annotated[Port, Meta(description="the port of the console")] = 4280
    console_host: Annotated[str, Meta(description="the address the console answers on")] = "127.0.0.1"
    console_readers: Annotated[
        Secret, Meta(description="name=token,… of people who may look; each token has 16 characters or more")
    ] = Secret("")
    console_operators: Annotated[
        Secret, Meta(description="name=token,… of people who may also retry and skip; the console records the name")
    ] = Secret("")
    console_cert: Annotated[
        Path | None, Meta(description="the certificate with which the console speaks TLS, with its chain (PEM)")
    ] = None
    console_key: Annotated[Path | None, Meta(description="the key of that certificate (PEM)")] = None
    door_rate: Annotated[
        float, Meta(gt=0, le=100_000, description="requests a second that chorus door takes from one address")
    ] = 10.0
    door_trusts_actor: Annotated[
        bool, Meta(description="whether chorus door passes Acting-For on; only behind a proxy that sets it")
    ] = False
    webhook_secrets: Annotated[
        Secret, Meta(description="sender=secret,… of the webhooks of chorus door; each 16 characters or more")
    ] = Secret("")
    traces_per_s: Annotated[
        int, Meta(ge=0, le=10_000, description="how many traces a worker begins per second at most; 0 sends none")
    ] = 0
    monitor_url: Annotated[
        HttpUrl | None, Meta(description="the server's monitoring, to check that it syncs always and is well")
    ] = None

    of_contexts: Mapping[str, Any] = {}

    @property
    def seeds(self) -> Path:
        """The directory with a seed for each user, where `chorus access apply` puts them unless told otherwise."""
        return self.data_dir / "access" if self.access_dir is None else self.access_dir

    def narrowed(self, wanted: type[S]) -> S:
        """The same settings as one context declares them: its own fields as set, or else their defaults."""
        if isinstance(self, wanted):
            return self
        of_machinery = {name: getattr(self, name) for name in Settings.__struct_fields__}
        own = {name: value for name, value in self.of_contexts.items() if name in wanted.__struct_fields__}
        return wanted(**{**of_machinery, **own})
