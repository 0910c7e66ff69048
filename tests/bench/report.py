"""The figures as tables for people, or as one JSON object for machines."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench.costs import Machine, Spent
from tests.bench.insights import Insights
from tests.bench.orders import ManyOrders, Orders, events_per_s
from tests.bench.profiles import Line, Profile
from tests.bench.rights import PriceOfRights
from tests.bench.runs import OpenLoop, Target
from tests.bench.sagas import HOPS, Chain, sagas_per_s

MACHINE = ("load", "others' cores", "idle cores")

Result = Chain | Orders | ManyOrders | Insights | PriceOfRights


def as_json(result: Result | Profile) -> str:
    """Everything that was measured, the targets included."""
    found: dict[str, Any] = msgspec.to_builtins(result)
    if not isinstance(result, Profile):
        found["targets"] = [{**msgspec.to_builtins(target), "met": target.met} for target in result.targets]
    return msgspec.json.encode(found).decode()


def show(result: Result | Profile, console: Console) -> None:
    """Print the tables."""
    match result:
        case Chain():
            _show_chain(result, console)
        case Orders():
            _show_orders(result, console)
        case ManyOrders():
            _show_many(result, console)
        case Insights():
            _show_insights(result, console)
        case PriceOfRights():
            _show_rights(result, console)
        case Profile():
            console.print(_profile("event loop", result.loop), _profile("database", result.database))
    if not isinstance(result, Profile):
        console.print(_targets(result.targets))


def _show_chain(ring: Chain, console: Console) -> None:
    hop, five_ms = ring.hop, HOPS * ring.hop.hop_ms
    console.print(
        f"one unloaded hop: {hop.hop_ms:.2f} ms (commit {hop.commit_ms:.2f}, publish to PubAck {hop.publish_ms:.2f},"
        f" medians of {hop.times}); five are {five_ms:.2f} ms"
    )
    table = Table("five hops", "sagas/s", "runs", *MACHINE, title="All sagas waiting")
    for name, runs in (("bare loop", ring.bare), ("Chorus", ring.chorus)):
        each = " ".join(f"{run.throughput.per_s:,.0f}" for run in runs)
        table.add_row(name, f"{sagas_per_s(runs):,.0f}", each, *_machine([run.spent.machine for run in runs]))
    costs = {"bare loop": ring.bare[-1].spent, "Chorus": ring.chorus[-1].spent, "slowly": ring.open_loop.spent}
    console.print(table, _costs(costs), _open(ring.open_loop))


def _show_orders(orders: Orders, console: Console) -> None:
    pace = orders.capacity.throughput
    console.print(
        f"{pace.sagas:,} orders waiting: {pace.per_s:,.0f} orders/s from the first OrderPlaced to the last OrderShipped"
        f" ({pace.seconds:.1f} s), {pace.steady_per_s:,.0f} a second in the middle 80 % of the shipments,"
        f" {orders.capacity.events:.1f} events per order; {events_per_s(orders.capacity):,.0f} events/s, and"
        f" {events_per_s(orders.bare):,.0f} in the bare loop of the chain"
    )
    machine = Table(*MACHINE, title="The machine")
    machine.add_row(*_machine([orders.capacity.spent.machine]))
    costs = {"waiting": orders.capacity.spent, "one by one": orders.open_loop.spent}
    console.print(machine, _costs(costs), _open(orders.open_loop))


def _show_many(many: ManyOrders, console: Console) -> None:
    tenths = [str(number) for number in range(1, 11)]
    pace = Table("tenth", *tenths, title=f"{many.orders:,} orders, by tenths")
    pace.add_row("orders/s", *(f"{tenth.per_s:,.0f}" for tenth in many.tenths))
    pace.add_row("load", *(f"{tenth.spent.machine.load:.1f}" for tenth in many.tenths))
    pace.add_row("others' cores", *(f"{tenth.spent.machine.others_cores:.1f}" for tenth in many.tenths))
    cpu = Table("tenth", *tenths, title="CPU microseconds per order")
    memory = Table("tenth", *tenths, title="Memory, MB")
    for name in many.tenths[0].spent.cpu_us:
        cpu.add_row(name, *(f"{tenth.spent.cpu_us[name]:,.0f}" for tenth in many.tenths))
        memory.add_row(name, *(f"{tenth.spent.rss_mb[name]:.0f}" for tenth in many.tenths))
    console.print(pace, cpu, memory)


def _show_insights(found: Insights, console: Console) -> None:
    caught, live = found.catch_up, found.live
    console.print(
        f"{caught.events:,} events in EVENTS, of which the group hears {caught.heard:,}: it caught up in"
        f" {caught.seconds:.1f} s, its start included; {caught.per_s:,.0f} events/s of the stream and"
        f" {caught.heard_per_s:,.0f} that it folded; the bare loop read {caught.events / caught.bare_seconds:,.0f};"
        f" the buckets took {caught.buckets_seconds:.1f} s more"
    )
    answers = f"p50 {found.answers.p50_ms:.2f} ms, p99 {found.answers.p99_ms:.2f} ms"
    console.print(f"a query of one order: {answers}; lag: p50 {live.lag_p50_ms:.1f} ms, p99 {live.lag_p99_ms:.1f} ms")
    console.print(f"{live.orders_per_s_alone:,.0f} orders/s without the groups, {live.orders_per_s:,.0f} with them")
    console.print(_costs({"per event": caught.spent}))


def _show_rights(price: PriceOfRights, console: Console) -> None:
    table = Table("orders/s", "runs", "CPU us per order", *MACHINE, title="Orders waiting, round by round")
    for name, runs in (
        ("without rights", [one.open for one in price.rounds]),
        ("with rights", [one.secure for one in price.rounds]),
    ):
        paces = " ".join(f"{run.throughput.per_s:,.0f}" for run in runs)
        cpu = " ".join(f"{sum(run.spent.cpu_us.values()):,.0f}" for run in runs)
        table.add_row(name, paces, cpu, *_machine([run.spent.machine for run in runs]))
    table.add_row("kept", " ".join(f"{one.kept:.2f}" for one in price.rounds), *[""] * (1 + len(MACHINE)))
    console.print(table)


def _costs(runs: Mapping[str, Spent]) -> Table:
    columns = [column for title in runs for column in (f"{title}, CPU us", "MB")]
    table = Table("process", *columns, title="Per saga, and at the end")
    for name in next(iter(runs.values())).cpu_us:
        cells = ((f"{run.cpu_us[name]:,.0f}", f"{run.rss_mb[name]:.0f}") for run in runs.values())
        table.add_row(name, *chain.from_iterable(cells))
    sums = ((f"{sum(run.cpu_us.values()):,.0f}", "") for run in runs.values())
    table.add_row("all", *chain.from_iterable(sums))
    return table


def _machine(machines: Iterable[Machine]) -> list[str]:
    seen = [(machine.load, machine.others_cores, machine.idle_cores) for machine in machines]
    return [" ".join(f"{value:.1f}" for value in values) for values in zip(*seen, strict=True)]


def _open(loop: OpenLoop) -> Table:
    latency = loop.latency
    table = Table("median", "p99", "most", "sender late", *MACHINE, title=f"{loop.per_s:g} a second, milliseconds")
    in_ms = (latency.p50_ms, latency.p99_ms, latency.most_ms, latency.late_ms)
    table.add_row(*(f"{ms:.1f}" for ms in in_ms), *_machine([loop.spent.machine]))
    return table


def _targets(targets: Iterable[Target]) -> Table:
    table = Table("target", "found", "wanted", "", title="Ratios and targets")
    for target in targets:
        wanted = f">= {target.at_least:g}" if target.at_least is not None else f"<= {target.at_most:g}"
        table.add_row(target.name, f"{target.found:.2f}", wanted, "met" if target.met else "MISSED")
    return table


def _profile(thread: str, lines: Iterable[Line]) -> Table:
    table = Table("function", "calls", "own us", "with callees us", title=f"The {thread}'s thread, per saga")
    for line in lines:
        table.add_row(line.function, f"{line.calls:.2f}", f"{line.own_us:.1f}", f"{line.with_callees_us:.1f}")
    return table
