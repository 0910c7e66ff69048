"""What an operator may set, each as a `CHORUS_…` variable of the environment with a default that works."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct


def default_streams_file() -> Path:
    """`streams.yaml` beside the `shared` package in a checkout, or the one that was installed inside it."""
    package = Path(__file__).parents[1]
    in_checkout = package.parent / "streams.yaml"
    return in_checkout if in_checkout.is_file() else package / "streams.yaml"


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
    streams_file: Annotated[Path, Meta(description="streams, partitions and bounds")] = msgspec.field(
        default_factory=default_streams_file
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

    of_contexts: Mapping[str, Any] = {}

    def narrowed(self, wanted: type[S]) -> S:
        """The same settings as one context declares them: its own fields as set, or else their defaults."""
        if isinstance(self, wanted):
            return self
        of_machinery = {name: getattr(self, name) for name in Settings.__struct_fields__}
        own = {name: value for name, value in self.of_contexts.items() if name in wanted.__struct_fields__}
        return wanted(**{**of_machinery, **own})
