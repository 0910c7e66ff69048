"""`chorus streams plan` and `write` as an operator runs them, against a server that has what the code declares."""

import json
import os
from pathlib import Path

import nats

from contexts.ordering.commands import PlaceOrder
from shared.schemas.json_schema import schema_of
from tests.forking import run_chorus

ROOT = Path(__file__).parents[2]


async def chorus(*words: str, file: Path, url: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command with this streams.yaml and server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHORUS_", "NATS_"))}
    ran = await run_chorus(*words, environ={**kept, "NATS_URL": url, "CHORUS_STREAMS_FILE": str(file)})
    return ran.code, ran.output, ran.errors


async def test_plan_exits_1_until_the_choreography_is_written(account_url: str, tmp_path: Path) -> None:
    url, file = account_url, tmp_path / "streams.yaml"
    file.write_text((ROOT / "streams.yaml").read_text().replace("OrderPlaced", "OrderMade"))
    code, _, _ = await chorus("streams", "apply", file=file, url=url)
    assert code == 0
    problem = f"chorus: {file}: its choreography differs from the code of the contexts; run chorus streams write\n"
    assert await chorus("streams", "plan", file=file, url=url) == (1, "", problem)
    assert await chorus("streams", "plan", "--json", file=file, url=url) == (1, "[]\n", problem)
    code, said, _ = await chorus("streams", "write", file=file, url=url)
    assert code == 0
    assert said.startswith(f"{file}: wrote the choreography of ")
    assert file.read_text() == (ROOT / "streams.yaml").read_text()
    assert await chorus("streams", "plan", file=file, url=url) == (0, "nothing to do\n", "")
    code, said, _ = await chorus("streams", "write", file=file, url=url)
    assert (code, said) == (0, f"{file}: nothing to do, its choreography matches the code\n")


async def test_an_apply_writes_the_schemas_and_a_plan_names_those_that_differ(account_url: str) -> None:
    url, file = account_url, ROOT / "streams.yaml"
    code, said, _ = await chorus("streams", "apply", file=file, url=url)
    assert (code, said.splitlines()[-1].partition(":")[0]) == (0, "write to the bucket SCHEMAS")
    client = await nats.connect(url)
    schemas = await client.jetstream().key_value("SCHEMAS")
    try:
        published = json.loads((await schemas.get("ordering.commands.PlaceOrder")).value or b"")
        assert published == schema_of(PlaceOrder)
        await schemas.put("ordering.commands.PlaceOrder", b"{}")
        assert await chorus("streams", "plan", file=file, url=url) == (
            1,
            "write to the bucket SCHEMAS: ordering.commands.PlaceOrder\n",
            "",
        )
        code, said, _ = await chorus("streams", "apply", "--json", file=file, url=url)
        assert json.loads(said) == {"done": [], "refused": [], "left": [], "schemas": ["ordering.commands.PlaceOrder"]}
        assert json.loads((await schemas.get("ordering.commands.PlaceOrder")).value or b"") == published
    finally:
        await client.close()
