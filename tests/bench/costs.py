"""What processes have cost, as the kernel counts it: CPU seconds and resident memory."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

_TICKS = os.sysconf("SC_CLK_TCK")


class Cost(Struct, frozen=True, kw_only=True):
    """One process; `cpu_s` counts user and system time of all its threads."""

    cpu_s: float
    rss_mb: float


Costs = Mapping[str, Cost]


def costs_of(pids: Mapping[str, int]) -> Costs:
    """The cost of each process so far, by its name."""
    return {name: Cost(cpu_s=_cpu_s(pid), rss_mb=_rss_mb(pid)) for name, pid in pids.items()}


def between(before: Costs, after: Costs) -> Costs:
    """The CPU time that was spent in between, and the memory that is held after it."""
    return {
        name: Cost(cpu_s=after[name].cpu_s - (before[name].cpu_s if name in before else 0.0), rss_mb=after[name].rss_mb)
        for name in after
    }


def load_average() -> float:
    """Processes that ran or wanted to in the last minute, ours included: past the number of cores, others disturbed."""
    return os.getloadavg()[0]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no resident memory")
