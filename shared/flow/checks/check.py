"""Finds the mistakes in a graph that load well: each with its place and its remedy.

`shared/mistakes` finds those of one declaration when the contexts are loaded. These are mistakes of the whole: each
declaration is right, and together they are not.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.flow.checks import compensations, cycles, judges, messages, reach, waits
from shared.flow.checks.finding import Finding
from shared.flow.graph import Flow
from shared.saga import Saga


def check(flow: Flow, sagas: Iterable[Saga], sagas_file: Path | None = None) -> tuple[Finding, ...]:
    """All findings, by their place. `sagas_file` is where the sagas are declared."""
    return tuple(sorted({*_found(flow, tuple(sagas), sagas_file)}, key=_by_place))


def _found(flow: Flow, sagas: tuple[Saga, ...], sagas_file: Path | None) -> Iterator[Finding]:
    yield from messages.unheard(flow, sagas)
    yield from messages.unsaid(flow)
    yield from messages.unasked(flow)
    yield from cycles.unbounded(flow)
    yield from compensations.misnamed(flow)
    for saga in sagas:
        wrong = [*reach.misnamed(flow, saga, sagas_file)]
        yield from wrong
        if not wrong:
            yield from reach.unreachable(flow, saga, sagas_file)
            yield from compensations.missing(flow, saga)
            yield from waits.without_deadline(flow, saga)
            yield from waits.for_clients(flow, saga, sagas_file)
            yield from judges.several(flow, saga, sagas_file)


def _by_place(finding: Finding) -> tuple[str, int, str]:
    file, _, line = finding.place.rpartition(":")
    return file, int(line) if line.isdigit() else 0, finding.text
