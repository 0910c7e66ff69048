"""The reasons for which a context rejects commands are a closed set: `Refusal` of its commands.py, and its canvas."""

import ast
import importlib
from pathlib import Path
from typing import Any, get_args

import pytest

from shared.context import Context
from tests.contract.declared import contexts

ROOT = Path(__file__).parents[2]


def reasons_in(module: ast.Module) -> set[str]:
    """The reason of each `Rejected.at(reason, …)` and `Rejected(reason=…)` in a module."""
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.AnnAssign | ast.Assign)
        for target in ([node.target] if isinstance(node, ast.AnnAssign) else node.targets)
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for call in ast.walk(module):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name("Rejected"), attr="at"), args=[reason, *_]):
                found |= spelled(reason, constants)
            case ast.Call(func=ast.Name("Rejected"), keywords=[ast.keyword("reason", reason), *_]):
                found |= spelled(reason, constants)
    return found


def spelled(reason: ast.expr, constants: dict[str, Any]) -> set[str]:
    """The values that the expression can have: it is a string, or looks one up in a dict of the module."""
    match reason:
        case ast.Constant(str(value)):
            return {value}
        case ast.Subscript(value=ast.Name(name)):
            return {str(value) for value in ast.literal_eval(constants[name]).values()}
    raise AssertionError(f"write the reason as a string: {ast.unparse(reason)}")


def given_by(context: Context) -> set[str]:
    modules = (ROOT / "contexts" / context.name).glob("*.py")
    return {reason for path in modules for reason in reasons_in(ast.parse(path.read_text()))}


REJECTING = [context for context in contexts() if given_by(context)]


@pytest.mark.parametrize("context", REJECTING, ids=lambda context: context.name)
def test_every_reason_of_a_rejection_is_declared_with_the_commands(context: Context) -> None:
    commands = importlib.import_module(f"contexts.{context.name}.commands")
    declared = {*get_args(getattr(commands, "Refusal", None))}
    assert declared == given_by(context), f"contexts/{context.name}/commands.py: mend Refusal, a Literal of reasons"


@pytest.mark.parametrize("context", REJECTING, ids=lambda context: context.name)
def test_every_reason_of_a_rejection_stands_in_the_canvas(context: Context) -> None:
    canvas = ROOT / "contexts" / context.name / "README.md"
    said = canvas.read_text() if canvas.exists() else ""
    missing = sorted(reason for reason in given_by(context) if f"`{reason}`" not in said)
    assert missing == [], f"{canvas.relative_to(ROOT)}, Reads: say for which reasons a command is refused"
