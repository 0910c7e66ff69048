"""The bench runs and prints its ratios; no figure is judged here, because a machine that runs tests is busy."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
ENDS_WITHIN_S = 280.0


@pytest.mark.long
@pytest.mark.parametrize(
    ("bench", "ratios"),
    [
        ("chain", ["sagas/s, of the bare loop's", "median, in five unloaded hops", "p99, in five unloaded hops"]),
        ("orders", ["events/s, of the bare loop's", "orders/s", "p99 at 20/s, ms"]),
        ("rights", ["orders/s with rights, of those without"]),
        ("insights", ["events/s", "memory, MB", "p99 of a query, ms", "p99 of the lag, ms", "orders/s lost"]),
    ],
)
def test_a_quick_bench_ends_and_tells_its_ratios(bench: str, ratios: list[str]) -> None:
    command = [sys.executable, "-m", "tests.bench", bench, "--quick", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [target["name"] for target in msgspec.json.decode(ran.stdout)["targets"]] == ratios
