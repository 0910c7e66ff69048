"""`chorus demo` on real processes: every order ends as it must, within the time that the shop promises."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.shop import environment

ROOT = Path(__file__).parents[2]
WITHIN_S = 15.0
"""The promise; the process starts and stops a server and ten processes within it."""


@pytest.mark.long
def test_demo_ends_every_order_as_it_must_within_fifteen_seconds(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "shared.cli", "demo", "--json"]
    environ = environment("", tmp_path)
    begun = time.monotonic()
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environ, cwd=ROOT, check=False)
    took_s = time.monotonic() - begun
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert told["ok"]
    assert [saga["ok"] for saga in told["sagas"]] == [True] * 10
    assert took_s < WITHIN_S
