"""`chorus lag`: shows how far each context is behind, partition by partition."""

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json
from shared.cli.output import console, show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from rich.table import Table

    from shared.inspect.lag.groups import GroupNow
    from shared.inspect.lag.partitions import Lag, Report


def lag(
    context: Annotated[str | None, Parameter(name="CONTEXT", help="one context; else all of them")] = None,
    /,
    *,
    watch: Annotated[bool, Parameter(negative="", show_default=False, help="go on until Ctrl-C")] = False,
    every: Annotated[str, Parameter(help="how long rates are measured, and how often --watch looks")] = "1s",
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Show how far each context is behind, partition by partition.

    Messages behind, the age of the oldest one, messages per second, the process that
    owns the partition, and how long its commits and publishes take. A read side has a
    line for each group, which no saga waits for. The last lines name contexts whose
    partitions are not equally busy. Exit 1 when a partition or a group has no process.

    For example:

        chorus lag
        chorus lag CONTEXT --watch
        chorus lag --json | jq '.lags[] | select(.oldest_s > 5)'
    """
    import anyio

    from shared import catalog
    from shared.cli.interrupt import run_until_interrupted
    from shared.config.units import parse_duration
    from shared.inspect.lag.meter import LagMeter
    from shared.streams.file import read_topology

    if context is not None:
        catalog.check_known(context)
    try:
        every_s = parse_duration(every).total_seconds()
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"--every: {error}") from error
    settings = catalog.read_settings(os.environ)
    loaded = catalog.load_all(settings)
    contexts = [one for one in loaded.members.values() if context in (None, one.name)]
    sides = [one for one in loaded.read_sides.values() if context in (None, one.name)]
    meter = LagMeter(contexts, sides, read_topology(settings.streams_file).partitions)

    async def look() -> int:
        async with connection.connected("lag") as broker:
            await meter.measure(broker)
            while True:
                await anyio.sleep(every_s)
                report = await meter.measure(broker)
                _show(report, json=json, watch=watch)
                if not watch:
                    return Exit.OK if report.is_owned else Exit.NO

    return run_until_interrupted(look)


def _show(report: "Report", *, json: bool, watch: bool) -> None:
    if json:
        import msgspec

        show_json(msgspec.to_builtins(report))
        return
    if watch and console().is_terminal:
        console().clear()
    show(table(report))
    show_lines(trouble for group in report.groups for trouble in group.troubles)
    show_lines(
        f"{name}: its busiest partition takes {skew:.1f} times the mean"
        for name, skew in report.skew.items()
        if skew >= 2
    )


def table(report: "Report") -> "Table":
    """A row for each partition of each context, and for each group of a read side."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False)
    for title in ("context", "part", "behind", "oldest", "per s", "commit p50/p99", "publish p50/p99", "owner"):
        drawn.add_column(title, justify="left" if title in ("context", "owner") else "right", no_wrap=True)
    for one in report.lags:
        drawn.add_row(
            one.context,
            str(one.partition),
            _behind(one),
            f"{one.oldest_s:.1f} s" if one.oldest_s else "",
            f"{one.per_s:.0f}" if one.process else "",
            _times(one.commit_p50_s, one.commit_p99_s),
            _times(one.publish_p50_s, one.publish_p99_s),
            one.process or ("does not answer" if one.runs else f"nobody: chorus worker {one.context}"),
            style=None if one.process else "red",
        )
    for group in report.groups:
        drawn.add_row(*_group(group), style=None if group.process else "red")
    return drawn


def _group(one: "GroupNow") -> tuple[str, ...]:
    owner = one.process or (
        "does not answer" if one.runs else f"nobody: chorus worker {one.context} --group {one.group}"
    )
    return (
        one.context,
        one.group,
        "? (EVENTS)" if one.behind is None else str(one.behind),
        f"{one.oldest_s:.1f} s" if one.oldest_s else "",
        f"{one.per_s:.0f}" if one.process else "",
        "",
        "",
        owner,
    )


def _behind(one: "Lag") -> str:
    missing = [stream for stream, count in one.behind.items() if count is None]
    return f"? ({', '.join(missing)})" if missing else str(one.messages)


def _times(p50_s: float | None, p99_s: float | None) -> str:
    if p50_s is None or p99_s is None:
        return ""
    return f"{1000 * p50_s:.1f}/{1000 * p99_s:.1f} ms"
