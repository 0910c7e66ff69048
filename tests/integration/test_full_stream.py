"""A full COMMANDS refuses new commands, and takes more when there is room."""

import json
from pathlib import Path

import anyio
import msgspec
import pytest

from shared.derived.topology import declare
from shared.engine.api import api_of
from shared.ports.broker import BrokerRefusedError
from shared.streams.apply import apply
from shared.wire.streams import COMMANDS
from tests.e2e.shop import NATS_CLI
from tests.integration.engine import TOPOLOGY, running, standing, until_idle
from tests.integration.keys import TILL
from tests.integration.till import scanner, till

RING_5 = b'{"amount": 5}'


class TestTooMuch:
    """More commands than may wait are refused at the door, where their clients hear of it."""

    async def test_full_stream_says_so_to_everyone_who_asks_and_takes_more_when_there_is_room(
        self, account_url: str, tmp_path: Path
    ) -> None:
        streams = {**TOPOLOGY.streams, COMMANDS: {**TOPOLOGY.streams[COMMANDS], "max_msgs": 3}}
        topology = msgspec.structs.replace(TOPOLOGY, streams=streams)
        async with standing(account_url, tmp_path) as counter:
            await apply(counter.broker.api, declare(topology, (till(), scanner())), allow_destructive=True)
            stop = await counter.broker.serve("till", "1.0.0", "a till", api_of(till(), counter.broker))
            for amount in (1, 2, 3):
                await counter.ring(TILL, amount)
            with pytest.raises(BrokerRefusedError) as refused:
                await counter.ring(TILL, 4)
            assert refused.value.code == 10077
            headers, body = await counter.broker.request("api.till.Ring", RING_5, {}, 5.0)
            assert headers["Nats-Service-Error-Code"] == "503"
            assert "(10077)" in json.loads(body)["detail"]
            if NATS_CLI is not None:
                said = await anyio.run_process(
                    [NATS_CLI, "--server", counter.url, "pub", "-J", f"cmd.till.Ring.{TILL}", RING_5.decode()],
                    check=False,
                    stderr=-2,
                )
                assert said.returncode == 1
                assert b"maximum messages exceeded" in said.stdout
            await counter.scan(TILL, 9, "scanner/scan-t-1@1")
            await stop()
            async with running(counter):
                await counter.watcher.until(TILL, "Rung", times=4)
                await until_idle(counter)
                await counter.ring(TILL, 4)
                await counter.watcher.until(TILL, "Rung", times=5)
