"""`chorus why`: explains what a saga waits for, with the remedy."""

import os
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.adapters import clock
from shared.cli.flags import HERE, Connection, Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.inspect.why.evidence import Evidence
    from shared.inspect.why.explanation import Explanation


def why(
    key: Annotated[str, Parameter(name="KEY", help="the key of a saga")],
    /,
    *,
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Explain what a saga waits for.

    Asks every context what it knows of the key, and reads the streams. The first
    lines name each cause and its remedy; the rest is the evidence. Exit 1 when
    somebody has to do something, or when nobody knows the key.

    For example:

        chorus why k-42
    """
    import anyio

    from shared import catalog
    from shared.inspect.timeline.standings import standings
    from shared.inspect.why.evidence import collect
    from shared.inspect.why.explanation import explain
    from shared.inspect.why.lines import facts, paragraph
    from shared.streams.file import read_topology
    from shared.wire.messages import check_key

    check_key(key)
    settings = catalog.read_settings(os.environ)
    loaded = catalog.load_all(settings)
    contexts = [*loaded.members.values()]
    sagas = catalog.declared_in("sagas", "SAGAS") or ()
    partitions = read_topology(settings.streams_file).partitions

    async def ask() -> "Evidence":
        async with connection.connected("why") as broker:
            sides = loaded.read_sides.values()
            return await collect(broker, contexts, key, partitions, clock().now(), sides=sides)

    evidence = anyio.run(ask)
    explanation = explain(evidence, loaded.members, sagas, standings(sagas, evidence.messages, evidence.at))
    if json:
        show_json(as_json(explanation, evidence))
    else:
        show_lines([*paragraph(explanation), "", *(f"{name}: {said}" for name, said in facts(evidence).items())])
    return Exit.NO if explanation.is_trouble else Exit.OK


def as_json(explanation: "Explanation", evidence: "Evidence") -> dict[str, Any]:
    """The explanation with the answers of the contexts."""
    import msgspec

    return {
        "key": explanation.key,
        "causes": [{**msgspec.to_builtins(cause), "kind": cause.kind.name.lower()} for cause in explanation.causes],
        "sagas": list(explanation.standings),
        "answers": {name: msgspec.to_builtins(answer) for name, answer in evidence.answers.items()},
        "groups": msgspec.to_builtins(evidence.groups),
    }
