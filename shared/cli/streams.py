"""`chorus streams`: what streams.yaml and the code ask of the broker."""

import os
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json, ShowNats
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.streams.drift import Change


def plan(*, json: Json = False, show_nats: ShowNats = False, connection: Connection = HERE) -> int:
    """Show what `streams apply` would change.

    Exit 0 when there is nothing to do, 1 when there is. Only what streams.yaml
    and the code declare is compared.

    For example:

        chorus streams plan
        chorus streams plan --json --context production
    """
    import anyio

    from shared import catalog
    from shared.run.system import declared
    from shared.streams.apply import plan as changes_of

    wanted = declared(catalog.read_settings(os.environ))
    if show_nats:
        streams = [one.name for one in wanted if one.kind == "stream"]
        show_lines(connection.nats("stream", "info", stream, "--json") for stream in streams)
        show_lines(connection.nats("consumer", "ls", stream) for stream in streams)
        return Exit.OK

    async def compare() -> "tuple[Change, ...]":
        async with connection.connected("streams plan") as broker:
            return await changes_of(broker.api, wanted)

    changes = anyio.run(compare)
    if json:
        show_json(_as_json(changes))
    else:
        show_lines(_lines(changes) if changes else ["nothing to do"])
    return Exit.NO if changes else Exit.OK


def apply(
    *,
    allow_destructive: Annotated[bool, Parameter(negative="", show_default=False, help="even if data is lost")] = False,
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Create and update the streams and consumers.

    Doing it twice changes nothing. A change that would destroy what is stored is
    refused, and then nothing at all is done.

    For example:

        chorus streams apply
        chorus streams apply --server nats://10.0.0.7:4222 --creds admin.creds
    """
    import anyio

    from shared import catalog
    from shared.run.system import declared
    from shared.streams.apply import Outcome
    from shared.streams.apply import apply as carry_out

    wanted = declared(catalog.read_settings(os.environ))

    async def run() -> Outcome:
        async with connection.connected("streams apply") as broker:
            return await carry_out(broker.api, wanted, allow_destructive=allow_destructive)

    outcome = anyio.run(run)
    if json:
        show_json({name: _as_json(getattr(outcome, name)) for name in ("done", "refused", "left")})
    else:
        show_lines(_lines(outcome.done) if outcome.done or outcome.refused else ["nothing to do"])
        show_lines(f"left alone: consumer {change.stream}/{change.name}, {change.destroys}" for change in outcome.left)
    if outcome.refused:
        raise CommandError(
            Exit.NO, "\n".join(["nothing was done; --allow-destructive would", *_lines(outcome.refused)])
        )
    return Exit.OK


def _lines(changes: "Iterable[Change]") -> list[str]:
    from shared.streams.drift import described

    return [line for change in changes for line in described(change)]


def _as_json(changes: "Iterable[Change]") -> Any:
    import msgspec

    documents = [msgspec.to_builtins(change) for change in changes]
    for document in documents:
        del document["config"]  # As long as streams.yaml, and said by the differences.
    return documents
