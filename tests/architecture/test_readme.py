"""The README says what is there: its tables, diagrams, commands and names are held against the code."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from cyclopts import App

from contexts.ordering.decider import Order, OrderCommand, decide, evolve
from contexts.ordering.events import OrderPlaced, Status
from shared import catalog, messages
from shared.cli import COMMANDS
from shared.context import Rejected
from shared.exits import Exit
from shared.ops.topology import STREAMS
from shared.settings import OF_THE_TESTS, Settings, describe
from tests.contract.declared import contexts
from tests.contract.examples import examples

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FENCED = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROSE = FENCED.sub("", README)
CHORUS = {command.words: command for command in COMMANDS}
FIRST_RUN = "python3 -m pip install --target .uv uv && .uv/bin/uv run chorus demo"
TEST_RUN = ".uv/bin/uv run pytest"
EXAMPLE = "contexts/vouchers"


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, without the indent of the list that they stand in."""
    found = []
    for match in FENCED.finditer(README):
        if match[1] == language:
            indent = " " * (len(match[0]) - len(match[0].lstrip(" ")))
            found.append(re.sub(rf"^{indent}", "", match[2], flags=re.MULTILINE))
    return found


def rows(heading: str, *first_row: str) -> list[list[str]]:
    """The cells of the tables whose head begins with these cells, under a heading; without their heads."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    head = re.escape(" | ".join(first_row))
    tables = re.findall(rf"^\| {head} .*\n.*\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert tables, f"{heading} has no table of {first_row}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for table in tables for line in table.splitlines()]


def names(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def commands() -> list[str]:
    """Every command line in the console blocks, put together where it goes on in the next line."""
    lines = "\n".join(blocks("console")).replace("\\\n", " ").splitlines()
    return [line[2:] for line in lines if line.startswith("$ ")]


def chorus_lines() -> list[str]:
    return [line[line.index("chorus ") :] for line in commands() if re.match(r"(?:[A-Z_]+=\S+ )*chorus ", line)]


def command_of(words: list[str]) -> str:
    """The longest of chorus's commands with which these words begin, or nothing."""
    return next((said for size in (2, 1) if (said := " ".join(words[:size])) in CHORUS), "")


def test_the_two_commands_stand_there_and_ci_runs_the_same() -> None:
    assert f"{FIRST_RUN}\n{TEST_RUN}\n" in blocks("sh")
    assert re.search(rf"^{re.escape(TEST_RUN)}\b", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_the_pythons_are_those_that_the_package_names_and_ci_looks_for() -> None:
    said = re.search(r"needs Python (.+?), and pip", README)
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
    app = App(default_command=getattr(import_module(f"shared.cli.{module}"), function))
    app.parse_args(words[len(found.split()) :], exit_on_error=False, print_error=False)


def test_every_chorus_command_that_the_text_names_exists() -> None:
    named = {command for said in names(PROSE) if (command := re.match(r"chorus ([a-z][a-z ]*)", said))}
    assert [said[0] for said in named if not command_of(said[1].split())] == []


def heard() -> set[tuple[str, str, str]]:
    """Who says what to whom."""
    return {(on.source, on.event.__name__, context.name) for context in contexts() for on in context.policies}


def test_the_table_of_events_is_who_hears_whom() -> None:
    listed = {
        (said_by, names(event)[0], reader)
        for event, said_by, readers in rows("The saga on one screen", "what is said", "by")
        for reader in readers.split(", ")
    }
    assert listed == heard()


def test_the_drawing_of_the_saga_has_only_arrows_that_the_code_has() -> None:
    (drawing,) = [block for block in blocks("mermaid") if block.startswith("flowchart")]
    arrows = re.findall(r"^  (\w+)\S* -- (\w+) --> (\w+)$", drawing, re.MULTILINE)
    accepted = {("client", command.__name__, context.name) for context in contexts() for command in context.accepts}
    assert len(arrows) == len(drawing.splitlines()) - 1
    assert set(arrows) - heard() - accepted == set()


def steps_of_an_order() -> Iterator[tuple[str, str, str]]:
    """Every change of its state that any command can lead to, from any state."""
    placed = msgspec.convert(examples(OrderPlaced)[0], OrderPlaced)
    settings = Settings()
    judge = partial(decide, order_deadline=settings.order_deadline, currency=settings.currency)
    for status in get_args(Status):
        for kind in get_args(OrderCommand):
            order = Order(status=status, placed=None if status == "UNKNOWN" else placed)
            for event in judge(msgspec.convert(examples(kind)[0], kind), order):
                if not isinstance(event, Rejected):
                    before, order = order, evolve(order, event)
                    if order.status != before.status:
                        yield before.status, type(event).__name__, order.status


def test_the_drawing_of_an_order_has_every_step_that_its_decider_takes() -> None:
    (drawing,) = [block for block in blocks("mermaid") if block.startswith("stateDiagram")]
    drawn = re.findall(r"^  (\S+) --> (\w+): (\w+)$", drawing.replace("[*]", "UNKNOWN"), re.MULTILINE)
    assert len(drawn) == len(drawing.splitlines()) - 1
    assert {(before, event, after) for before, after, event in drawn} == {*steps_of_an_order()}


def test_every_context_has_its_canvas_linked() -> None:
    linked = re.findall(r"\[\w+\]\((contexts/\w+/README\.md)\)", README)
    assert {*linked} == {f"contexts/{name}/README.md" for name in catalog.names()}


def test_a_subject_in_a_block_is_one_that_exists_unless_it_is_refused() -> None:
    accepted = {(context.name, command.__name__) for context in contexts() for command in context.accepts}
    published = {(context.name, event.__name__) for context in contexts() for event in context.publishes}
    example = ("vouchers", "RedeemVoucher")
    for block in blocks("console"):
        for line, answer in zip(block.splitlines(), [*block.splitlines()[2:], "", ""], strict=True):
            asked = re.findall(r"(?:\bcmd|\bapi|chorus send) ?\.?(\w+)\.(\w+)", line) if line.startswith("$ ") else []
            said = re.findall(r"\bevt\.(\w+)\.(\w+)", line)
            assert "no responders" in answer or {*asked} <= {*accepted, example}, line
            assert {*said} <= published, line


def test_the_table_of_settings_is_the_settings() -> None:
    listed = [(*names(variable), *names(default), what) for variable, default, what in rows("Settings", "variable")]
    settings = describe(Settings(), {})
    described = [(one.variable, one.default.replace(f"{ROOT}/", ""), one.description) for one in settings]
    assert listed == [tuple(filter(None, setting)) for setting in described]


def test_every_variable_that_is_named_is_a_setting() -> None:
    known = {setting.variable for setting in describe(Settings(), {})} | {*OF_THE_TESTS}
    assert {*re.findall(r"\bCHORUS_[A-Z_]+", README)} - known == set()


def test_the_table_of_exit_codes_is_the_exit_codes() -> None:
    assert [int(code) for code, _ in rows("Exit codes", "code", "means")] == sorted(Exit)


def test_the_table_of_streams_has_each_with_bounds_that_it_has() -> None:
    file = (ROOT / "streams.yaml").read_text()
    listed = {name: names(bounds) for name, _, bounds in rows("Streams", "stream", "holds")}
    assert tuple(listed) == STREAMS
    for name, bounds in listed.items():
        (section,) = re.findall(rf"^  {name}:\n(.*?)(?=^  [A-Z]|^\S|\Z)", file, re.MULTILINE | re.DOTALL)
        assert [bound for bound in bounds if not re.search(rf"^    {bound}$", section, re.MULTILINE)] == []
    (partitions,) = [said for said in names(PROSE) if said.startswith("partitions: ")]
    assert f"\n{partitions}\n" in file


def test_the_table_of_headers_is_the_headers() -> None:
    constants = ("MSG_ID", "CORRELATION_ID", "CAUSATION_ID", "CAUSATION_HASH", "CAUSATION_DEPTH", "OCCURRED_AT",
                 "SCHEMA_VERSION", "SCHEDULE", "SCHEDULE_TARGET", "SCHEDULE_TTL", "TIMER_ID")  # fmt: skip
    listed = [header for cells in rows("On the wire", "header", "says") for header in names(cells[0])]
    assert listed == [getattr(messages, constant) for constant in constants]


@pytest.mark.parametrize("test", re.findall(r"`(tests/\w\S*\.py::\w+)`", README))
def test_a_test_that_shows_a_promise_exists(test: str) -> None:
    file, name = test.split("::")
    defined = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
    assert name in defined


def test_every_promise_names_its_test() -> None:
    assert [promise for promise, test in rows("What is promised", "promise", "test") if "::test_" not in test] == []


def test_every_file_that_is_named_exists() -> None:
    paths = {said for said in names(PROSE) if re.match(r"(?:shared|contexts|tests|deploy|\.ci)/[\w./@-]+$", said)}
    linked = {*re.findall(r"\]\(([^)#:]+)\)", PROSE)}
    of_the_example = {path for path in paths if path.startswith(EXAMPLE) or path == "tests/unit/vouchers"}
    assert [path for path in sorted((paths | linked) - of_the_example) if not (ROOT / path).exists()] == []


def test_every_section_that_is_linked_exists() -> None:
    titles = re.findall(r"^## (.+)$", PROSE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    assert {*re.findall(r"\]\(#([^)]+)\)", PROSE)} == anchors


def write_the_example(directory: Path) -> Path:
    """The context of the README beside those of the shop, as a newcomer would have them."""
    (directory / "contexts").mkdir()
    (directory / "contexts/__init__.py").write_text("")
    for name in {*catalog.names(), "kernel.py"} - {Path(EXAMPLE).name}:
        (directory / "contexts" / name).symlink_to(ROOT / "contexts" / name)
    example = directory / EXAMPLE
    example.mkdir()
    modules = ("events", "commands", "decider", "upstream", "policies", "worker", "__init__", "__main__")
    for name, text in zip(modules, blocks("python"), strict=True):
        (example / f"{name}.py").write_text(text)
    return example


CHECK = """
import contexts
from shared import catalog
from shared.settings import Settings
found = catalog.contexts(Settings())["vouchers"]
print(found.accepts[0].__name__, *sorted(event.__name__ for event in found.publishes))
"""


def test_the_example_is_a_context_that_fits_with_the_others(tmp_path: Path) -> None:
    write_the_example(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "RedeemVoucher VoucherGranted VoucherRedeemed\n", ran.stderr


def test_the_example_passes_the_linter(tmp_path: Path) -> None:
    example = write_the_example(tmp_path)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "shared").symlink_to(ROOT / "shared")
    ruff = str(Path(sys.executable).with_name("ruff"))
    for how in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        ran = subprocess.run(
            [ruff, *how, str(example)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stdout
