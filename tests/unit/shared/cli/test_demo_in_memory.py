"""`chorus demo --in-memory`: ten orders, each with the end it must have."""

import json
import subprocess
import sys


def test_every_order_of_the_demo_ends_as_it_must() -> None:
    words = [sys.executable, "-m", "shared.cli", "demo", "--in-memory", "--json"]
    said = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (said.returncode, said.stderr) == (0, "")
    told = json.loads(said.stdout)
    assert told["ok"]
    assert [saga["ok"] for saga in told["sagas"]] == [True] * 10
