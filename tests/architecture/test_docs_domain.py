"""docs/ is the catalogue of the shop's words and of the codes that the code and the tests cite."""

import re

import msgspec
import pytest

from shared.context import Context
from shared.wire.bodies import stamped_fields
from tests.architecture.pages import DOCS, ROOT, names, told_by
from tests.contract.declared import contexts, read_sides

CODE = re.compile(r"\b[PFRI][1-9][0-9]?\b")
NOT_COVERED = re.compile(r"No test covers ([^.]+) yet\.")
CATALOGUES = (("domain", "Policies"), ("domain", "Failures"), ("faults", "Faults"), ("faults", "Invariants"))


def catalogued() -> list[str]:
    return [code for page, heading in CATALOGUES for code, *_ in DOCS[page].rows(heading, "code")]


def cited() -> set[str]:
    """The codes that stand in the contexts, in the machinery and in the tests."""
    files = [path for folder in ("contexts", "shared", "tests") for path in ROOT.glob(f"{folder}/**/*.py")]
    return {code for path in files for code in CODE.findall(path.read_text())}


def not_covered() -> set[str]:
    said = NOT_COVERED.findall(DOCS["domain"].prose) + NOT_COVERED.findall(DOCS["faults"].prose)
    return {code for codes in said for code in CODE.findall(codes)}


def test_every_code_that_is_cited_is_in_the_catalogue_and_stands_there_once() -> None:
    codes = catalogued()
    assert cited() - {*codes} == set(), "docs/domain.md or docs/faults.md has to say what these are"
    assert len(codes) == len({*codes})


def test_every_code_of_the_catalogue_is_cited_or_said_to_be_not_covered_yet() -> None:
    assert {*catalogued()} - cited() == not_covered(), "docs/faults.md: mend the sentence 'No test covers … yet'"


@pytest.mark.parametrize("heading", ["Policies", "Failures"])
def test_every_row_names_a_test_whose_docstring_says_how_it_shows_the_row(heading: str) -> None:
    """The docstring of the test, or of its class, cites the code of the row and has a sentence beside it."""
    named = [(code, names(tests)) for code, *_, tests in DOCS["domain"].rows(heading, "code")]
    assert [code for code, tests in named if not tests] == [], "docs/domain.md: name a test in each row"
    places = [(code, *test.partition("::")[::2]) for code, tests in named for test in tests]
    assert [test for _, path, test in places if test not in told_by(path)] == [], (
        "docs/domain.md: there is no such test"
    )
    said = [(code, test, told_by(path)[test]) for code, path, test in places]
    assert [(code, test) for code, test, told in said if code not in CODE.findall(told)] == [], (
        "name a test whose docstring cites the code, or let it cite the code if it shows the row"
    )
    assert {test for _, test, told in said if not re.search("[a-z]{2}", told)} == set(), "say what it shows, too"


def test_the_numbers_that_are_not_there_yet_are_in_no_catalogue() -> None:
    assert {*CODE.findall(DOCS["domain"].section("Not there yet"))} & {*catalogued()} == set()


def test_the_table_of_commands_is_what_clients_may_send() -> None:
    accepted = {
        f"{context.name}.{command.__name__}": (stamped_fields(command)["key"], fields)
        for context in contexts()
        for command in context.accepts
        for fields in [
            [
                field.encode_name + ("" if field.required else " (optional)")
                for field in msgspec.structs.fields(command)
                if field.name not in stamped_fields(command).values()
            ]
        ]
    }
    listed = {
        names(command)[0]: (names(key)[0], fields.replace("`", "").split(", ") if fields else [])
        for command, key, fields, _ in DOCS["domain"].rows("Commands", "command", "key")
    }
    assert listed == accepted, "docs/domain.md, Commands: mend the table"


@pytest.mark.parametrize("context", contexts(), ids=lambda context: context.name)
def test_the_tables_of_events_are_what_is_published_and_who_reads_it(context: Context) -> None:
    readers: dict[str, set[str]] = {}
    for reader in contexts():
        for policy in reader.policies:
            if policy.source == context.name:
                readers.setdefault(policy.event.__name__, set()).add(reader.name)
    published = {
        event.__name__: (
            aggregate.key,
            [field.encode_name for field in msgspec.structs.fields(event) if field.name != aggregate.key],
            readers.get(event.__name__, set()),
        )
        for aggregate in context.aggregates
        for event in aggregate.events
    }
    listed = {
        names(event)[0]: (names(key)[0], names(fields), {*filter(None, read_by.split(", "))})
        for event, key, fields, read_by, _ in DOCS["domain"].rows(context.name, "event", "key")
    }
    assert listed == published, f"docs/domain.md, {context.name}: mend the table"


def test_the_table_of_contexts_names_every_aggregate() -> None:
    rows = DOCS["domain"].rows("Contexts", "context", "kind", "aggregates")
    listed = {context: names(aggregates) for context, _, aggregates, *_ in rows}
    declared = {context.name: [one.name for one in context.aggregates] for context in contexts()}
    assert listed == declared, "docs/domain.md, Contexts: mend the table"


def test_the_kinds_of_the_contexts_are_those_of_the_table_of_patterns() -> None:
    kinds: dict[str, set[str]] = {}
    for context, kind, *_ in DOCS["domain"].rows("Contexts", "context", "kind", "aggregates"):
        kinds.setdefault(kind, set()).add(f"contexts/{context}")
    kinds["supporting"].update(f"contexts/{side.name}" for side in read_sides())
    patterns = {
        pattern: {name for name in names(where) if name.count("/") == 1}
        for pattern, _, where in DOCS["patterns"].rows("Patterns of domain-driven design", "pattern", "here", "where")
    }
    assert {*kinds} == {"core", "supporting", "generic", "external system"}
    assert kinds == {kind: patterns[kind if " " in kind else f"{kind} subdomain"] for kind in kinds}


def test_the_glossary_defines_each_term_once_and_in_order() -> None:
    tables = [
        [term for term, _ in DOCS["glossary"].rows(heading, "term", "meaning")]
        for heading in ("Terms of the field", "Terms of Chorus")
    ]
    terms = [term for table in tables for term in table]
    assert len(terms) == len({*terms})
    assert tables == [sorted(table) for table in tables]
