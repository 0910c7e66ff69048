"""The words that the templates of a context are filled in with."""

from collections.abc import Iterable, Mapping
from typing import Final

from shared.new.heard import Heard
from shared.new.names import Names, snake

WIDTH: Final = 120
UPSTREAM: Final = '''

class {event}(Struct, frozen=True, kw_only=True):
    """{Source} says it under the key `{key}`."""

    {key}: {key_type}
'''
WHENEVER: Final = '''

def {function}(event: {event}) -> list[Reserve{Camel}]:
    """Reserve the {aggregate} for it."""
    return [Reserve{Camel}({own_key}={value})]
'''
POLICY_TEST: Final = """

def test_{snake}_reserves_it() -> None:
    assert {function}({event}({key}={example})) == [RESERVE]
"""


def words_of(names: Names, heard: tuple[Heard, ...], package: str) -> dict[str, str]:
    """Return the words of the templates. The aggregate has the key of the first event that the context hears."""
    key, key_type = (heard[0].key, heard[0].key_type) if heard else (f"{names.aggregate}_id", "str")
    of_kernel = {one.key_type for one in heard} - {"str"}
    from_kernel = _import(f"{package}.kernel", {key_type} - {"str"})
    rows = [f"| `{one.event}` | `{_function(names, one)}` | `Reserve{names.camel}` |" for one in heard]
    return {
        "package": package,
        "context": names.context,
        "Title": names.context.capitalize(),
        "aggregate": names.aggregate,
        "a": names.a_or_an,
        "A": names.a_or_an.capitalize(),
        "Camel": names.camel,
        "CAMEL": names.aggregate.upper(),
        "key": key,
        "key_type": key_type,
        "no_key": _literal("", key_type),
        "a_key": _literal("k-1", key_type),
        "import_commands": _import(f"{package}.{names.context}.commands", (f"{names.camel}Command", *names.commands)),
        "import_key": from_kernel,
        "import_key_apart": f"\n{from_kernel}" if from_kernel else "",
        "import_heard_keys": f"\n{_import(f'{package}.kernel', of_kernel)}" if of_kernel else "",
        "import_casts": "" if {one.key_type for one in heard} == {key_type} else from_kernel,
        "import_policies": f"from {package}.{names.context}.policies import POLICIES\n" if heard else "",
        "policies_field": "        policies=POLICIES,\n" if heard else "",
        "heard": ", ".join(sorted(one.event for one in heard)),
        "reads": f"{', '.join(f'`{one.source}.{one.event}`' for one in heard)}. " if heard else "",
        "whenever_rows": "".join(f"{row}\n" for row in rows),
        "and_hears": ", and its reactions" if heard else "",
        **_of_policies(names, heard, key, key_type),
        "import_for_tests": _imports_for_tests(names, heard, package, of_kernel),
    }


def words_of_read_side(names: Names, heard: tuple[Heard, ...], package: str) -> dict[str, str]:
    """Return the words of the templates of a read side, which hears at least one event."""
    first = heard[0]
    return {
        **words_of(names, heard, package),
        "import_upstream": _import(f"{package}.{names.context}.upstream", (one.event for one in heard)),
        "ons": "".join(f'        On("{one.source}", {one.event}, note),\n' for one in heard),
        "heard_source": first.source,
        "heard_event": first.event,
        "heard_key": first.key,
        "reads": f"{', '.join(f'`{one.source}.{one.event}`' for one in heard)}.\n",
    }


def _of_policies(names: Names, heard: tuple[Heard, ...], key: str, key_type: str) -> dict[str, str]:
    filled: dict[str, list[str]] = {"upstream": [], "whenever": [], "policy_tests": []}
    policies = []
    for one in heard:
        field = f"event.{one.key}"
        values: Mapping[str, str] = {
            "event": one.event,
            "Source": one.source.capitalize(),
            "key": one.key,
            "key_type": one.key_type,
            "function": _function(names, one),
            "Camel": names.camel,
            "aggregate": names.aggregate,
            "own_key": key,
            "value": field if key_type in (one.key_type, "str") else f"{key_type}({field})",
            "snake": snake(one.event),
            "example": "KEY" if one.key_type in (key_type, "str") else f"{one.key_type}(KEY)",
        }
        for word, text in (("upstream", UPSTREAM), ("whenever", WHENEVER), ("policy_tests", POLICY_TEST)):
            filled[word].append(text.format(**values))
        policies.append(f'Policy("{one.source}", {one.event}, {values["function"]})')
    several = "".join(f"\n    {policy}," for policy in policies) + "\n"
    return {
        **{word: "".join(texts) for word, texts in filled.items()},
        "policies": f"{policies[0]}," if len(policies) == 1 else several,
    }


def _imports_for_tests(names: Names, heard: tuple[Heard, ...], package: str, of_kernel: set[str]) -> str:
    if not heard:
        return ""
    return (
        _import(f"{package}.kernel", of_kernel)
        + _import(f"{package}.{names.context}.policies", (_function(names, one) for one in heard))
        + _import(f"{package}.{names.context}.upstream", (one.event for one in heard))
    )


def _function(names: Names, heard: Heard) -> str:
    return f"whenever_{snake(heard.event)}_reserve_the_{names.aggregate}"


def _import(module: str, names: Iterable[str]) -> str:
    """Return the import of these names, folded where it is longer than a line; nothing without names."""
    imported = sorted(names)
    line = f"from {module} import {', '.join(imported)}\n"
    if len(line) > WIDTH:
        folded = "".join(f"    {name},\n" for name in imported)
        line = f"from {module} import (\n{folded})\n"
    return line if imported else ""


def _literal(text: str, key_type: str) -> str:
    return f'"{text}"' if key_type == "str" else f'{key_type}("{text}")'
