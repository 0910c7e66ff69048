"""`chorus demo` on real processes: every order ends as it must."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.shop import environment

ROOT = Path(__file__).parents[2]
WITHIN_S = 120.0
"""Against a hang only: on a quiet machine with two cores the demo takes less than 15 s, beside other tests more."""


@pytest.mark.long
def test_demo_ends_every_order_as_it_must(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "shared.cli", "demo", "--json"]
    environ = environment("", tmp_path)
    ran = subprocess.run(words, capture_output=True, text=True, timeout=WITHIN_S, env=environ, cwd=ROOT, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert told["ok"]
    assert [saga["ok"] for saga in told["sagas"]] == [True] * 10
