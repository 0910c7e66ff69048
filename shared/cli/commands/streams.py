"""`chorus streams`: compares the broker and streams.yaml with the code, and changes them."""

import os
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.errors import CommandError, complain
from shared.cli.flags import HERE, OPERATOR, Connection, Json, ShowNats
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from shared.config.settings import Settings
    from shared.streams.drift import Change


def plan(*, json: Json = False, show_nats: ShowNats = False, connection: Connection = HERE) -> int:
    """Show what `streams apply` and `streams write` would change.

    Compares the broker with streams.yaml and the code, in declared keys only, and
    the choreography in streams.yaml with the code. Exit 0 when nothing differs,
    else 1.

    For example:

        chorus streams plan
        chorus streams plan --json --context production
    """
    import anyio

    from shared import catalog
    from shared.run.system import declared
    from shared.schemas.bucket import differing
    from shared.streams.apply import plan as changes_of
    from shared.streams.choreography import is_current

    settings = catalog.read_settings(os.environ)
    wanted = declared(settings)
    if show_nats:
        streams = [one.name for one in wanted if one.kind == "stream"]
        show_lines(connection.nats("stream", "info", stream, "--json") for stream in streams)
        show_lines(connection.nats("consumer", "ls", stream) for stream in streams)
        return Exit.OK

    async def compare() -> "tuple[tuple[Change, ...], list[str]]":
        async with connection.connected("streams plan", OPERATOR) as broker:
            return await changes_of(broker.api, wanted), [*await differing(broker, _schemas(settings))]

    current = is_current(settings.streams_file, catalog.members(settings))
    changes, keys = anyio.run(compare)
    if json:
        show_json([*_as_json(changes), *_bucket_as_json(keys)])
    else:
        lines = [*_lines(changes), *bucket_lines(keys)]
        show_lines(lines if lines or not current else ["nothing to do"])
    if not current:
        complain(
            f"{settings.streams_file}: its choreography differs from the code of the contexts; run chorus streams write"
        )
    return Exit.NO if changes or keys or not current else Exit.OK


def write() -> int:
    """Write the choreography of the contexts into streams.yaml.

    The choreography lists what each context accepts, hears, says and asks, and its
    deadlines. It follows from the code of the contexts. The command changes no
    other line of the file and does not ask the broker.

    For example:

        chorus streams write
    """
    from shared import catalog
    from shared.config.settings import contexts_package, default_streams_file, own_streams_file
    from shared.streams.choreography import write as write_choreography

    settings = catalog.read_settings(os.environ)
    if own_streams_file() is None and settings.streams_file == default_streams_file():
        raise CommandError(
            Exit.MISCONFIGURED,
            f"{contexts_package()} has no streams.yaml; copy {settings.streams_file} beside the package,"
            " then run chorus streams write",
        )
    members = catalog.members(settings)
    if write_choreography(settings.streams_file, members):
        show_lines([f"{settings.streams_file}: wrote the choreography of {len(members)} contexts"])
    else:
        show_lines([f"{settings.streams_file}: nothing to do, its choreography matches the code"])
    return Exit.OK


def apply(
    *,
    allow_destructive: Annotated[bool, Parameter(negative="", show_default=False, help="even if data is lost")] = False,
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Create and update the streams and consumers.

    Also writes the schemas of all messages into the key-value bucket SCHEMAS.
    Idempotent. If a change would destroy stored messages, the command makes no
    change at all and exits 1.

    For example:

        chorus streams apply
        chorus streams apply --server nats://10.0.0.7:4222 --creds admin.creds
    """
    import anyio

    from shared import catalog
    from shared.run.system import declared
    from shared.schemas.bucket import write as write_schemas
    from shared.streams.apply import Applied
    from shared.streams.apply import apply as carry_out

    settings = catalog.read_settings(os.environ)
    wanted = declared(settings)

    async def run() -> "tuple[Applied, Sequence[str]]":
        async with connection.connected("streams apply", OPERATOR) as broker:
            applied = await carry_out(broker.api, wanted, allow_destructive=allow_destructive)
            return applied, () if applied.refused else await write_schemas(broker, _schemas(settings))

    outcome, keys = anyio.run(run)
    if json:
        changes = {name: _as_json(getattr(outcome, name)) for name in ("done", "refused", "left")}
        show_json({**changes, "schemas": [*keys]})
    else:
        lines = [*_lines(outcome.done), *bucket_lines(keys)]
        show_lines(lines if lines or outcome.refused else ["nothing to do"])
        show_lines(f"left alone: consumer {change.stream}/{change.name}, {change.destroys}" for change in outcome.left)
    if outcome.refused:
        raise CommandError(
            Exit.NO,
            "\n".join(
                [
                    "nothing was changed; these destroy messages and need --allow-destructive:",
                    *_lines(outcome.refused),
                ]
            ),
        )
    return Exit.OK


def _lines(changes: "Iterable[Change]") -> list[str]:
    from shared.streams.drift import describe

    return [line for change in changes for line in describe(change)]


def _schemas(settings: "Settings") -> "Mapping[str, bytes]":
    """The schemas of all messages, by path."""
    from shared import catalog
    from shared.schemas.files import files_of

    return files_of(catalog.members(settings).values(), title=settings.contexts)


def bucket_lines(keys: "Collection[str]") -> list[str]:
    """A line about the keys of the bucket SCHEMAS that differ from the code."""
    shown = ", ".join(sorted(keys)[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return [f"write to the bucket SCHEMAS: {shown}{more}"] if keys else []


def _bucket_as_json(keys: "Collection[str]") -> list[Any]:
    return [{"action": "write", "kind": "bucket", "name": "SCHEMAS", "keys": sorted(keys)}] if keys else []


def _as_json(changes: "Iterable[Change]") -> Any:
    import msgspec

    documents = [msgspec.to_builtins(change) for change in changes]
    for document in documents:
        del document["config"]  # As long as streams.yaml; the differences say it.
    return documents
