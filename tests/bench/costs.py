"""Measures the cost of processes, as the kernel counts it, and the load of all other processes meanwhile."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

BENCH = "bench"
"""This process and its children that have ended, such as the sender."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Reading(NamedTuple):
    """CPU seconds and resident memory of each process so far, and what the whole machine has been busy."""

    at_s: float
    busy_s: float
    cpu_s: Mapping[str, float]
    rss_mb: Mapping[str, float]


class Machine(Struct, frozen=True, kw_only=True):
    """The rest of the machine: the cores that other processes used, the idle ones, and the load average."""

    others_cores: float
    idle_cores: float
    load: float


class Spent(Struct, frozen=True, kw_only=True):
    """Microseconds of CPU per saga and memory at the end, by process."""

    cpu_us: Mapping[str, float]
    rss_mb: Mapping[str, float]
    machine: Machine


def read_costs(pids: Mapping[str, int]) -> Reading:
    """The costs of these processes, by their names, and of the bench."""
    own = os.times()
    return Reading(
        time.monotonic(),
        _busy_s(),
        {**{name: _cpu_s(pid) for name, pid in pids.items()}, BENCH: sum(own[:4])},
        {**{name: _rss_mb(pid) for name, pid in pids.items()}, BENCH: _rss_mb(os.getpid())},
    )


def spent(before: Reading, after: Reading, *, sagas: float) -> Spent:
    """The cost of one saga, from the readings before and after `sagas` of them."""
    cpu_s = {name: after.cpu_s[name] - before.cpu_s[name] for name in after.cpu_s}
    seconds = after.at_s - before.at_s
    busy_cores = (after.busy_s - before.busy_s) / seconds
    machine = Machine(
        others_cores=max(busy_cores - sum(cpu_s.values()) / seconds, 0.0),
        idle_cores=max((os.cpu_count() or 1) - busy_cores, 0.0),
        load=os.getloadavg()[0],
    )
    return Spent(
        cpu_us={name: seconds / sagas * 1e6 for name, seconds in cpu_s.items()}, rss_mb=after.rss_mb, machine=machine
    )


def _busy_s() -> float:
    user, nice, system, _idle, _iowait, interrupt, soft_interrupt, stolen = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + interrupt + soft_interrupt + stolen) / _TICKS


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no resident memory")
