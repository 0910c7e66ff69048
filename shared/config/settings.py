"""What an operator may set, each as a `CHORUS_…` variable of the environment with a default that works."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from shared.config.secrets import SecretUrl
from shared.config.spelling import did_you_mean
from shared.config.units import format_duration, parse_duration

PREFIX = "CHORUS_"

OF_THE_TESTS = ("CHORUS_REQUIRE_NATS_CLI", "CHORUS_SEED")
"""Read by the test run only, which hands its environment down to the workers it starts."""


class SettingsError(ValueError):
    """The environment cannot be used; `problems` is a line per mistake."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def default_streams_file() -> Path:
    """`streams.yaml` beside the `shared` package in a checkout, or the one that was installed inside it."""
    package = Path(__file__).parents[1]
    in_checkout = package.parent / "streams.yaml"
    return in_checkout if in_checkout.is_file() else package / "streams.yaml"


Port = Annotated[int, Meta(ge=1, le=65535)]
HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^\s]+\Z")]
Failpoint = Annotated[str, Meta(pattern=r"^[a-z-]+(:[1-9][0-9]{0,5})?\Z")]


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting of every worker; `chorus config` lists them."""

    data_dir: Annotated[Path, Meta(description="where the databases are, and the server's data under chorus up")] = (
        Path("chorus-data")
    )
    streams_file: Annotated[Path, Meta(description="streams, partitions and bounds")] = msgspec.field(
        default_factory=default_streams_file
    )
    order_deadline: Annotated[timedelta, Meta(description="an order not confirmed by then expires")] = timedelta(
        minutes=15
    )
    dispatch_delay: Annotated[timedelta, Meta(description="how long a parcel waits for its carrier")] = timedelta(0)
    refund_retry_delay: Annotated[timedelta, Meta(description="when to try a failed refund again")] = timedelta(
        seconds=30
    )
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", description="what the shop charges in")] = "EUR"
    mail_dir: Annotated[Path | None, Meta(description="where mails are written when no SMTP server is set")] = None
    smtp_url: Annotated[SecretUrl | None, Meta(description="smtp[s]://user:password@host:port that sends mails")] = None
    mail_from: Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+\Z", description="who mails are from")] = (
        "shop@chorus.example"
    )
    bank_slow: Annotated[timedelta, Meta(description="how long the bank takes over a tok_slow… token")] = timedelta(
        seconds=2
    )
    batch_at_most: Annotated[int, Meta(ge=1, le=1000, description="messages decided in one commit")] = 1000
    effect_timeout: Annotated[timedelta, Meta(description="after this an outside call's outcome is unknown")] = (
        timedelta(seconds=10)
    )
    drain_timeout: Annotated[timedelta, Meta(description="how long a stopping worker may finish its batch")] = (
        timedelta(seconds=8)
    )
    failpoint: Annotated[Failpoint | None, Meta(description="where a worker kills itself, for crash tests")] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="the least that is logged")] = (
        "info"
    )
    log_format: Annotated[
        Literal["auto", "json", "console"], Meta(description="auto: json unless a person is watching")
    ] = "auto"
    metrics_port: Annotated[Port | None, Meta(description="where /metrics answers; not at all without it")] = None
    metrics_host: Annotated[str, Meta(description="the address /metrics answers on")] = "127.0.0.1"
    monitor_url: Annotated[
        HttpUrl | None, Meta(description="the server's monitoring, to check that it syncs always and is well")
    ] = None

    def __post_init__(self) -> None:
        if self.mail_dir is None:
            msgspec.structs.force_setattr(self, "mail_dir", self.data_dir / "mail")


class Setting(Struct, frozen=True, kw_only=True):
    """One setting as an operator sees it; `source` is its variable, or `default`."""

    name: str
    variable: str
    value: str
    default: str
    source: str
    description: str


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of this environment; a variable that is set but empty counts as not set.

    Raises:
        SettingsError: with every mistake at once.
    """
    fields = _fields()
    values: dict[str, Any] = {}
    problems = []
    for variable in sorted(environ):
        text = environ[variable]
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or variable in OF_THE_TESTS or not text:
            continue
        if name not in fields or variable != variable.upper():
            meant = did_you_mean(name, fields, shown=_variable)
            problems.append(f"{variable}: there is no such setting{meant}")
            continue
        try:
            values[name] = _parse(fields[name], text)
        except ValueError as error:
            problems.append(f"{variable}: {error}")
    if problems:
        raise SettingsError(tuple(problems))
    return Settings(**values)


def describe(settings: Settings, environ: Mapping[str, str]) -> tuple[Setting, ...]:
    """Every setting with its value, its default and where it comes from; secrets are hidden."""
    defaults = Settings()
    beside = Settings(data_dir=settings.data_dir)  # The mails are with the data unless told otherwise.
    described = []
    for name, field in _fields().items():
        variable = _variable(name)
        described.append(
            Setting(
                name=name,
                variable=variable,
                value=_shown(getattr(settings, name)),
                default=_shown(getattr(beside if name == "mail_dir" else defaults, name)),
                source=variable if environ.get(variable) else "default",
                description=field.description,
            )
        )
    return tuple(described)


class _Field(NamedTuple):
    type: Any
    description: str


@cache
def _fields() -> Mapping[str, _Field]:
    hints = get_type_hints(Settings, include_extras=True)
    return {name: _Field(hint, get_args(hint)[1].description) for name, hint in hints.items()}


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _parse(field: _Field, text: str) -> Any:
    plain = get_args(field.type)[0]
    if plain is timedelta:
        return parse_duration(text)
    try:
        return msgspec.convert(text, field.type, strict=False, dec_hook=lambda wanted, value: wanted(value))
    except msgspec.ValidationError as error:
        expected = f"use {', '.join(get_args(plain))}" if get_origin(plain) is Literal else str(error)
        raise ValueError(f"{text[:80]!r} cannot be used: {expected}") from error


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case timedelta():
            return format_duration(value)
        case SecretUrl():
            return repr(value)
        case _:
            return str(value)
