"""A worker that sends no traces imports nothing of OpenTelemetry, and one that cannot send them says why."""

import subprocess
import sys

START = """
import sys
import shared.worker.main
from shared.adapters.clock import SystemClock
from shared.worker.tracing import traced
"""
OFF = """
with traced("till", "the broker", SystemClock(), traces_per_s=0) as (broker, tracing):
    print(broker, type(tracing).__name__, [name for name in sys.modules if name.startswith("opentelemetry")])
"""
WITHOUT_THE_EXTRA = """
sys.modules["opentelemetry"] = None
with traced("till", "the broker", SystemClock(), traces_per_s=1):
    pass
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", START + program], capture_output=True, text=True, check=False)


def test_without_traces_a_worker_imports_nothing_of_opentelemetry() -> None:
    assert python(OFF).stdout == "the broker NoTracing []\n"


def test_without_the_extra_a_worker_that_should_trace_names_it() -> None:
    failed = python(WITHOUT_THE_EXTRA)
    assert failed.returncode == 1
    assert "MisconfiguredError: traces need OpenTelemetry" in failed.stderr
    assert "pip install 'chorus[otel]', or set CHORUS_TRACES_PER_S to 0" in failed.stderr
