"""`chorus top`: rates, latencies, open sagas and what is stuck, on one screen."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.adapters import clock
from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json
from shared.cli.output import console, show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from shared.context import Context
    from shared.inspect.lag.partitions import Report
    from shared.inspect.sagas.listing import Listing
    from shared.inspect.sagas.rates import SagaRates, SagaTail
    from shared.ports.broker import Broker
    from shared.saga import Saga

STUCK_SHOWN = 8


def top(
    *,
    once: Annotated[bool, Parameter(negative="", show_default=False, help="show it once, and exit")] = False,
    every: Annotated[str, Parameter(help="how often to look")] = "2s",
    metrics_port: Annotated[
        int | None, Parameter(help="answer Prometheus on this port of 127.0.0.1, and draw nothing")
    ] = None,
    json: Json = False,
    connection: Connection = HERE,
) -> None:
    """Show rates, latencies, lag and what is stuck, on one screen.

    Goes on until Ctrl-C. Rates and latencies are those of the last minute, as far as
    this command has been watching. With --metrics-port it serves the metrics of sagas,
    which no worker can know, to Prometheus.

    For example:

        chorus top
        chorus top --metrics-port 9470
        chorus top --once --json
    """
    import anyio

    from shared import catalog
    from shared.cli.interrupt import run_until_interrupted
    from shared.config.units import parse_duration
    from shared.inspect.asking import NoAnswerError
    from shared.inspect.lag.meter import LagMeter
    from shared.inspect.patience import Patience
    from shared.inspect.sagas.listing import Selection, list_sagas
    from shared.inspect.sagas.rates import SagaTail
    from shared.streams.file import read_topology
    from shared.wire.streams import EVENTS

    try:
        every_s = parse_duration(every).total_seconds()
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"--every: {error}") from error
    settings = catalog.read_settings(os.environ)
    loaded = catalog.load_all(settings)
    contexts = [*loaded.members.values()]
    sagas = catalog.declared_in("sagas", "SAGAS") or ()
    partitions = read_topology(settings.streams_file).partitions
    stuck = Selection(stuck=True, oldest_first=True, limit=STUCK_SHOWN)

    async def look() -> None:
        async with connection.connected("top") as broker:
            began = clock().now()
            tail = SagaTail(broker, sagas, first=(await broker.stream_info(EVENTS)).last_sequence + 1)
            if metrics_port is not None:
                await _serve(tail, metrics_port, broker, sagas, contexts, every_s)
            patience = Patience()
            meter = LagMeter(contexts, loaded.read_sides.values(), partitions, patience)
            await meter.measure(broker)
            while True:
                await anyio.sleep(every_s)
                await tail.advance()
                report = await meter.measure(broker)
                now = clock().now()
                listing: Listing | None = None
                if sagas:
                    with suppress(NoAnswerError):  # The lag of that context says so.
                        listing = await list_sagas(broker, sagas[0], contexts, stuck, now, patience=patience)
                seconds = (now - began).total_seconds()
                _show(tail.rates(now, now - began), tail.events / seconds, report, listing, json=json, once=once)
                if once:
                    return

    run_until_interrupted(look)


async def _serve(
    tail: "SagaTail",
    port: int,
    broker: "Broker",
    sagas: "Sequence[Saga]",
    contexts: "Sequence[Context]",
    every_s: float,
) -> None:
    """Look for ever; Prometheus reads the last look."""
    import anyio

    from shared.inspect.sagas.metrics import SagaCollector, serve_sagas

    collector = SagaCollector(tail)
    try:
        found = serve_sagas(collector, "127.0.0.1", port)
    except OSError as error:
        raise CommandError(Exit.MISCONFIGURED, f"port {port}: {error.strerror}; choose another one") from error
    show_lines([f"metrics of sagas on http://127.0.0.1:{found}/metrics"])
    while True:
        await collector.look(broker, sagas, contexts, clock().now())
        await anyio.sleep(every_s)


def _show(
    rates: "list[SagaRates]",
    events_per_s: float,
    report: "Report",
    listing: "Listing | None",
    *,
    json: bool,
    once: bool,
) -> None:
    import msgspec

    if json:
        show_json(
            {
                "events_per_s": round(events_per_s, 1),
                "sagas": msgspec.to_builtins(rates),
                "lag": msgspec.to_builtins(report),
                "stuck": msgspec.to_builtins(listing),
            }
        )
        return
    if not once and console().is_terminal:
        console().clear()
    show(*_screen(rates, events_per_s, report, listing))


def _screen(
    rates: "list[SagaRates]", events_per_s: float, report: "Report", listing: "Listing | None"
) -> "list[RenderableType]":
    from rich.table import Table

    from shared.inspect.lag.partitions import by_context

    sagas = Table("saga", "begun/s", "ended", "per s", "p50", "p99", box=None, pad_edge=False)
    for rate in rates:
        sagas.add_row(rate.saga, f"{rate.begun_per_s:.1f}", "", "", "", "")
        for end, per_s in rate.ended_per_s.items():
            sagas.add_row("", "", end, f"{per_s:.1f}", _seconds(rate.p50_s.get(end)), _seconds(rate.p99_s.get(end)))
    contexts = Table("context", "behind", "oldest", "per s", "commit p99", "calls", "parked", "owners", box=None)
    contexts.pad_edge = False
    for one in by_context(report):
        contexts.add_row(
            one.context,
            str(one.messages),
            f"{one.oldest_s:.1f} s",
            f"{one.per_s:.0f}",
            _seconds(one.commit_p99_s),
            str(one.calls),
            str(one.parked),
            f"{one.owned} of {one.partitions} partitions",
            style=None if one.owned == one.partitions else "red",
        )
    for group in report.groups:
        contexts.add_row(
            f"{group.context}, {group.group}",
            "?" if group.behind is None else str(group.behind),
            f"{group.oldest_s:.1f} s",
            f"{group.per_s:.0f}",
            "",
            "",
            "",
            "runs" if group.process else "does not run",
            style=None if group.process else "red",
        )
    shown: list[RenderableType] = [f"{events_per_s:.0f} events/s", "", sagas, "", contexts, ""]
    if listing is None:
        return [*shown, "The status of the sagas is not known."]
    shown.append(", ".join(f"{count} {status}" for status, count in listing.counts.items()) or "There is no saga yet.")
    if not listing.sagas:
        return [*shown, "Nothing is stuck."]
    stuck = Table("stuck", "status", "held up by", box=None, pad_edge=False)
    for saga in listing.sagas:
        stuck.add_row(saga.key, saga.status, "\n".join(saga.held_up_by) or "nothing: it is slow")
    return [*shown, "", stuck]


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"
