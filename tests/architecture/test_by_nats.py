"""Each command of a client is sent by the stock `nats` command in a test on real processes.

tests/e2e/test_nats_in_docs.py types what the pages say.
"""

import ast
import re
from collections.abc import Iterator

from tests.architecture.pages import DOCS, ROOT
from tests.contract.declared import contexts

SHOP = ("ordering", "inventory", "payments", "shipping", "support", "bank")
"""A context that `chorus new` makes has tests in virtual time only."""
BY_NATS = ("send", "report")
"""`Shop.send` runs the `nats` command, and so does `report` with it; `Shop.send_quickly` does not."""
SUBJECT = re.compile(r"cmd\.(\w+\.\w+)\.")
TYPED = ("ledger", "tutorial")
"""The pages whose commands a test types."""


def sent() -> Iterator[str]:
    """The commands that stand in a call of one of these functions, or on a page that is typed."""
    for path in ROOT.glob("tests/e2e/test_*.py"):
        yield from SUBJECT.findall(path.read_text())
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in BY_NATS:
                yield from (str(word.value) for word in call.args if isinstance(word, ast.Constant))
    for page in TYPED:
        for line in "".join(DOCS[page].blocks("console")).splitlines():
            if line.startswith("$ nats pub -J "):
                yield from SUBJECT.findall(line)


def test_every_command_of_a_client_is_sent_by_nats() -> None:
    accepted = {
        f"{context.name}.{command.__name__}"
        for context in contexts()
        if context.name in SHOP
        for command in context.accepts
    }
    assert {name.partition(".")[0] for name in accepted} == {*SHOP}
    assert accepted - {*sent()} == set(), "send it by Shop.send in a test of tests/e2e"
