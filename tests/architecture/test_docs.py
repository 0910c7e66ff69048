"""The README and docs/ say what is there: their tables, diagrams, commands and names are held against the code."""

import re
import shlex
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import get_args

import msgspec
import pytest
from cyclopts import App

from contexts.kernel import Money, Sku
from contexts.ordering.commands import OrderCommand, PlaceOrder
from contexts.ordering.events import OrderPlaced, Status
from contexts.ordering.order import Order, decide, evolve
from contexts.ordering.price import ListedPrice
from contexts.ordering.settings import OrderingSettings
from shared import catalog
from shared.cli import COMMANDS
from shared.config.environment import OF_THE_TESTS
from shared.config.exit_codes import Exit
from shared.console.pages import PAGES as CONSOLE_PAGES
from shared.context import Rejected
from shared.derived.topology import STREAMS
from shared.wire import messages
from shared.wire.trace_context import TRACEPARENT
from tests.architecture.pages import DOCS, EXAMPLE, PAGES, README, ROOT, Page, commands, defined_in, names
from tests.contract.declared import contexts, read_sides
from tests.contract.examples import examples

CHORUS = {command.words: command for command in COMMANDS}
FIRST_RUN = "python3 -m pip install --target .uv uv && .uv/bin/uv run chorus demo"
TEST_RUN = ".uv/bin/uv run pytest"
README_BYTES_AT_MOST = 10_000
OF_ANOTHER_SYSTEM = DOCS["your-own-system"]
"""Its contexts are not those of the shop; test_docs_own_system.py holds it to what it builds."""


def chorus_lines() -> list[str]:
    lines = [line[line.index("chorus ") :] for line in commands() if re.match(r"(?:[A-Z_]+=\S+ )*chorus ", line)]
    return sorted(set(lines))


def command_of(words: list[str]) -> str:
    """The longest of chorus's commands with which these words begin, or nothing."""
    return next((said for size in (2, 1) if (said := " ".join(words[:size])) in CHORUS), "")


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len(README.text.encode()) <= README_BYTES_AT_MOST


def test_the_two_commands_stand_there_and_ci_runs_the_same() -> None:
    assert f"{FIRST_RUN}\n{TEST_RUN}\n" in README.blocks("sh")
    assert re.search(rf"^{re.escape(TEST_RUN)}\b", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_the_pythons_are_those_that_the_package_names_and_ci_looks_for() -> None:
    said = re.search(r"needs Python (.+?), and pip", README.text)
    sought = re.search(r"^for version in (.+); do$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert said is not None
    assert sought is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert re.findall(r"3\.\d+", said[1]) == named
    assert project["requires-python"] == f">={named[0]}"
    assert set(named) <= set(sought[1].split())


@pytest.mark.parametrize("line", chorus_lines())
def test_a_chorus_command_in_a_block_can_be_typed_like_this(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    found = command_of(words)
    assert found, f"there is no such command: {line}"
    module, function = CHORUS[found].function.split(":")
    app = App(default_command=getattr(import_module(f"shared.cli.commands.{module}"), function))
    app.parse_args(words[len(found.split()) :], exit_on_error=False, print_error=False)


def test_every_chorus_command_that_the_text_names_exists() -> None:
    said = [name for page in PAGES for name in page.names]
    named = {command for name in said if (command := re.match(r"chorus ([a-z][a-z ]*)", name))}
    assert [command[0] for command in named if not command_of(command[1].split())] == []


def heard() -> set[tuple[str, str, str]]:
    """Each (publisher, event, reader) of the shop."""
    return {(on.source, on.event.__name__, context.name) for context in contexts() for on in context.policies}


def test_the_table_of_events_is_who_hears_whom() -> None:
    listed = {
        (said_by, names(event)[0], reader)
        for event, said_by, readers in DOCS["tutorial"].rows("Who reacts to what", "what is said", "by")
        for reader in readers.split(", ")
    }
    assert listed == heard(), "docs/tutorial.md, Who reacts to what: mend the table"


def test_the_drawing_of_the_saga_has_only_arrows_that_the_code_has() -> None:
    (drawing,) = [block for block in README.blocks("mermaid") if block.startswith("flowchart")]
    arrows = re.findall(r"^  (\w+)\S* -- (\w+) --> (\w+)$", drawing, re.MULTILINE)
    accepted = {("client", command.__name__, context.name) for context in contexts() for command in context.accepts}
    assert len(arrows) == len(drawing.splitlines()) - 1
    assert set(arrows) - heard() - accepted == set()


def steps_of_an_order() -> Iterator[tuple[str, str, str]]:
    """Every change of its state that any command can lead to, from any state."""
    placed = msgspec.convert(examples(OrderPlaced)[0], OrderPlaced)
    settings = OrderingSettings()
    judge = partial(
        decide,
        order_deadline=settings.order_deadline,
        price_honoured=settings.price_honoured,
        currency=settings.currency,
    )
    prices: defaultdict[Sku, ListedPrice] = defaultdict(lambda: ListedPrice(unit_price=Money(amount_minor=1999)))
    for status in get_args(Status):
        for kind in get_args(OrderCommand):
            order = Order(status=status, placed=None if status == "UNKNOWN" else placed)
            command = msgspec.convert(examples(kind)[0], kind)
            if isinstance(command, PlaceOrder):
                command = msgspec.structs.replace(command, promotion_code=None)
            for event in judge(command, order, prices, {}):
                if not isinstance(event, Rejected):
                    before, order = order, evolve(order, event)
                    if order.status != before.status:
                        yield before.status, type(event).__name__, order.status


def test_the_drawing_of_an_order_has_every_step_that_its_decider_takes() -> None:
    (drawing,) = [block for block in DOCS["tutorial"].blocks("mermaid") if block.startswith("stateDiagram")]
    drawn = re.findall(r"^  (\S+) --> (\w+): (\w+)$", drawing.replace("[*]", "UNKNOWN"), re.MULTILINE)
    assert len(drawn) == len(drawing.splitlines()) - 1
    assert {(before, event, after) for before, after, event in drawn} == {*steps_of_an_order()}


def test_every_context_has_its_canvas_linked() -> None:
    linked = {target for target, _ in README.links if target.startswith("contexts/")}
    assert linked == {f"contexts/{name}/README.md" for name in catalog.names()}, "README.md: link every canvas"


def test_a_subject_in_a_block_is_one_that_exists_unless_it_is_refused() -> None:
    accepted = {(context.name, command.__name__) for context in contexts() for command in context.accepts}
    published = {(context.name, event.__name__) for context in contexts() for event in context.publishes}
    queries = {(side.name, query.name) for side in read_sides() for group in side.groups for query in group.queries}
    example = ("vouchers", "RedeemVoucher")
    for block in (block for page in PAGES if page is not OF_ANOTHER_SYSTEM for block in page.blocks("console")):
        lines = block.splitlines()
        for line, answer in zip(lines, [*lines[2:], "", ""][: len(lines)], strict=True):
            names = r"(?:\bcmd|\bapi|chorus send) ?\.?(\w+)\.(?:any\.)?(\w+)"
            asked = re.findall(names, line) if line.startswith("$ ") else []
            said = re.findall(r"\bevt\.(\w+)\.(\w+)", line)
            assert "no responders" in answer or {*asked} <= {*accepted, *queries, example}, line
            assert {*said} <= published, line


def test_the_table_of_settings_is_the_settings() -> None:
    rows = DOCS["settings"].rows("Settings", "variable")
    listed = [(*names(variable), *names(default), what) for variable, default, what in rows]
    settings = catalog.described_settings({})
    described = [(one.variable, one.default.replace(f"{ROOT}/", ""), one.description) for one in settings]
    assert listed == [tuple(filter(None, setting)) for setting in described]


def test_every_variable_that_is_named_is_a_setting() -> None:
    known = {setting.variable for setting in catalog.described_settings({})} | {*OF_THE_TESTS}
    named = {variable for page in PAGES for variable in re.findall(r"\bCHORUS_[A-Z_]+", page.text)}
    assert named - known == set()


def test_the_table_of_exit_codes_is_the_exit_codes() -> None:
    assert [int(code) for code, _ in DOCS["settings"].rows("Exit codes", "code", "means")] == sorted(Exit)


def test_the_table_of_streams_has_each_with_bounds_that_it_has() -> None:
    file = (ROOT / "streams.yaml").read_text()
    listed = {name: names(bounds) for name, _, bounds in DOCS["operate"].rows("Streams", "stream", "holds")}
    assert tuple(listed) == STREAMS
    for name, bounds in listed.items():
        (section,) = re.findall(rf"^  {name}:\n(.*?)(?=^  [A-Z]|^\S|\Z)", file, re.MULTILINE | re.DOTALL)
        assert [bound for bound in bounds if not re.search(rf"^    {bound}$", section, re.MULTILINE)] == []
    (partitions,) = [said for said in DOCS["operate"].names if said.startswith("partitions: ")]
    assert f"\n{partitions}\n" in file


def test_the_table_of_headers_is_the_headers() -> None:
    constants = ("MSG_ID", "CORRELATION_ID", "ACTING_FOR", "CAUSATION_ID", "CAUSATION_HASH", "CAUSATION_SUBJECT",
                 "CAUSATION_DEPTH", "OCCURRED_AT", "SCHEMA_VERSION", "SCHEDULE", "SCHEDULE_TARGET", "SCHEDULE_TTL",
                 "TIMER_ID")  # fmt: skip
    listed = [header for cells in DOCS["wire"].rows("Headers", "header") for header in names(cells[0])]
    assert listed == [*(getattr(messages, constant) for constant in constants), TRACEPARENT]


def test_every_promise_names_its_test() -> None:
    page = DOCS["promises"]
    tables = [
        heading for heading in re.findall(r"^## (.+)$", page.prose, re.MULTILINE) if "not promised" not in heading
    ]
    rows = [row for heading in tables for row in page.rows(heading, "promise", "test")]
    assert [promise for promise, test in rows if not re.fullmatch(r"`tests/\S+\.py::test_\w+`", test)] == []


PATTERNS = {
    "domain-driven design": (
        "bounded context, context map, ubiquitous language, shared kernel, published language, anticorruption layer,"
        " open-host service, aggregate, domain service, value object, domain event, command, policy, core subdomain,"
        " supporting subdomain, generic subdomain, external system"
    ),
    "event-driven architecture": (
        "choreographed saga, compensation, pivot, tombstone, deadline, event sourcing, snapshot, transactional outbox,"
        " idempotent receiver (inbox), idempotency key, competing consumers, backpressure, dead letter,"
        " event-carried state transfer, CQRS, read model, upcaster, tolerant reader, request and reply"
    ),
}
"""The patterns that the tables have at the least."""


@pytest.mark.parametrize("heading", PATTERNS)
def test_every_pattern_names_where_it_is(heading: str) -> None:
    """Whether the files and functions exist, other tests here check for every page."""
    rows = DOCS["patterns"].rows(f"Patterns of {heading}", "pattern", "here", "where")
    assert {*PATTERNS[heading].split(", ")} - {
        one for pattern, *_ in rows for one in (pattern, *pattern.split(", "))
    } == set()
    assert [pattern for pattern, _, where in rows if not names(where)] == []
    places = [place for _, _, where in rows for place in names(where)]
    assert [place for place in places if not (ROOT / place.partition("::")[0]).exists()] == []


def test_every_function_that_is_named_exists() -> None:
    named = {name for page in PAGES for name in page.names if re.fullmatch(r"[\w/]+\.py::[\w.]+", name)}
    assert {"contexts", "shared", "tests"} == {name.split("/")[0] for name in named}
    assert [name for name in sorted(named) if name.split("::")[1] not in defined_in(name.split("::")[0])] == []


def test_every_file_that_is_named_exists() -> None:
    named = {name for page in PAGES if page is not OF_ANOTHER_SYSTEM for name in page.names}
    paths = {name for name in named if re.match(r"(?:shared|contexts|tests|deploy|docs|\.ci)/[\w./@-]+$", name)}
    of_the_example = {path for path in paths if path.startswith(EXAMPLE) or path == "tests/unit/vouchers"}
    assert [path for path in sorted(paths - of_the_example) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_and_section_that_is_linked_exists(page: Page) -> None:
    by_path = {page.path: page for page in PAGES}
    for target, anchor in page.links:
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), target
        assert not anchor or anchor in by_path[path].anchors, f"{target}#{anchor}"


def test_the_readme_and_the_first_page_and_the_site_lead_to_every_page() -> None:
    pages = {f"{name}.md" for name in DOCS}
    listed = re.findall(r'= "([\w-]+\.md)"', (ROOT / "zensical.toml").read_text())
    assert sorted(listed) == sorted(pages)
    assert {target for target, _ in DOCS["index"].links} == pages - {"index.md"}
    assert {target for target, _ in README.links if target.startswith("docs/")} == {
        f"docs/{page}" for page in pages - {"index.md"}
    }


def test_the_rooms_are_those_of_the_machinery() -> None:
    """The table in docs/engine.md names every package and, of the modules beside them, only some."""
    rooms = (ROOT / "docs/engine.md").read_text().split("## The rooms")[1].split("\n## ")[0]
    named = set(re.findall(r"`shared/([\w.]+)`", rooms))
    packages = {path.parent.name for path in ROOT.glob("shared/*/__init__.py")}
    assert {name for name in named if not name.endswith(".py")} == packages
    assert all((ROOT / "shared" / name).exists() for name in named)


def test_the_table_of_the_console_is_its_pages() -> None:
    rows = DOCS["console"].rows("Pages", "page", "path")
    assert sorted(path.strip("`") for _, path, *_ in rows) == sorted(page.path for page in CONSOLE_PAGES)
    assert {name for name, *_ in rows} >= {page.menu for page in CONSOLE_PAGES if page.menu}
