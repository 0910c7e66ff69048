"""Settings as the environment has them: `CHORUS_…` variables for the machinery's settings and for those of contexts."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from shared.config.secrets import Secret, SecretUrl
from shared.config.settings import Settings, SettingsError
from shared.config.spelling import did_you_mean
from shared.config.units import format_duration, parse_duration

PREFIX = "CHORUS_"

OF_THE_TESTS = (
    "CHORUS_REQUIRE_BROWSER",
    "CHORUS_REQUIRE_NATS_CLI",
    "CHORUS_SCREENSHOTS",
    "CHORUS_SECURE",
    "CHORUS_SEED",
)
"""Read by the test run only, which hands its environment down to the workers it starts."""

DeclaredSettings: TypeAlias = Mapping[str, type[Settings]]
"""The settings that contexts declare, by the name of the context."""

NONE: DeclaredSettings = {}


class Setting(Struct, frozen=True, kw_only=True):
    """One setting as an operator sees it; `source` is its variable, or `default`."""

    name: str
    variable: str
    value: str
    default: str
    source: str
    description: str


def load_settings(
    environ: Mapping[str, str], declared: DeclaredSettings = NONE, *, all_declared: bool = True
) -> Settings:
    """The settings of this environment; a variable that is set but empty counts as not set.

    Unless `all_declared`, a variable that nobody declares may belong to a context that could not be read, and passes.

    Raises:
        SettingsError: with every mistake at once.
    """
    fields = fields_of(declared)
    values: dict[str, Any] = {}
    problems = []
    for variable in sorted(environ):
        text = environ[variable]
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or variable in OF_THE_TESTS or not text:
            continue
        if name not in fields or variable != variable.upper():
            if all_declared or name in fields:
                meant = did_you_mean(name, fields, shown=_variable)
                problems.append(f"{variable}: there is no such setting{meant}")
            continue
        try:
            values[name] = _parse(fields[name], text)
        except ValueError as error:
            problems.append(f"{variable}: {error}")
    if problems:
        raise SettingsError(tuple(problems))
    return make_settings(values, declared)


def make_settings(values: Mapping[str, Any], declared: DeclaredSettings = NONE) -> Settings:
    """Settings with these values, by the names of their fields; raises SettingsError when a name is not declared."""
    fields = fields_of(declared)
    unknown = [f"{name}: there is no such setting{did_you_mean(name, fields)}" for name in values if name not in fields]
    if unknown:
        raise SettingsError(tuple(unknown))
    of_contexts = {name: value for name, value in values.items() if fields[name].owner is not Settings}
    return Settings(
        **{name: value for name, value in values.items() if name not in of_contexts}, of_contexts=of_contexts
    )


def describe(settings: Settings, environ: Mapping[str, str], declared: DeclaredSettings = NONE) -> tuple[Setting, ...]:
    """Every setting with its value, its default and where it comes from; secrets are hidden."""
    described = []
    for name, field in fields_of(declared).items():
        variable = _variable(name)
        # A default may follow the data directory.
        default = field.owner() if name == "data_dir" else field.owner(data_dir=settings.data_dir)
        described.append(
            Setting(
                name=name,
                variable=variable,
                value=_shown(getattr(settings.narrowed(field.owner), name)),
                default=_shown(getattr(default, name)),
                source=variable if environ.get(variable) else "default",
                description=field.description,
            )
        )
    return tuple(described)


class _Field(NamedTuple):
    type: Any
    description: str
    default: tuple[Any, Any]
    """Its default, and the function that makes one."""
    owner: type[Settings]
    declared_by: str


def fields_of(declared: DeclaredSettings) -> Mapping[str, _Field]:
    """Every field that may be set, by name: the machinery's first.

    Raises:
        SettingsError: a field lacks a default or a description, or two contexts declare one name differently.
    """
    found: dict[str, _Field] = {}
    problems = []
    owners: dict[str, type[Settings]] = {"the machinery": Settings, **declared}
    for declared_by, owner in owners.items():
        hints = get_type_hints(owner, include_extras=True)
        for described in msgspec.structs.fields(owner):
            name = described.name
            if name == "of_contexts":
                continue
            default = (described.default, described.default_factory)
            field = _Field(hints[name], _description(hints[name]), default, owner, declared_by)
            first = found.setdefault(name, field)
            if not field.description or described.required:
                problems.append(
                    f"{declared_by}: the setting {name} needs a default and a description:"
                    ' Annotated[…, Meta(description="…")] = …'
                )
            elif not _mean_the_same(field, first):
                problems.append(
                    f"the setting {name} of {declared_by} has another type or default than that of {first.declared_by}:"
                    " make both the same, or rename one"
                )
    if problems:
        raise SettingsError(tuple(problems))
    return found


def _description(hint: Any) -> str:
    metas = [meta for meta in get_args(hint)[1:] if isinstance(meta, Meta)]
    return next((meta.description for meta in metas if meta.description), "")


def _mean_the_same(one: _Field, other: _Field) -> bool:
    """Whether they have the same default and, apart from the description, the same type."""
    if one.default != other.default:
        return False
    return one.type == other.type or _undescribed(one.type) == _undescribed(other.type)


def _undescribed(hint: Any) -> msgspec.inspect.Type:
    described = msgspec.inspect.type_info(hint)
    return described.type if isinstance(described, msgspec.inspect.Metadata) else described


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _parse(field: _Field, text: str) -> Any:
    plain = get_args(field.type)[0]
    if plain is timedelta:
        return parse_duration(text)
    try:
        return msgspec.convert(text, field.type, strict=False, dec_hook=lambda wanted, value: wanted(value))
    except msgspec.ValidationError as error:
        choices = ("true", "false") if plain is bool else get_args(plain) if get_origin(plain) is Literal else ()
        expected = f"use {', '.join(choices)}" if choices else str(error)
        raise ValueError(f"{text[:80]!r} cannot be used: {expected}") from error


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case timedelta():
            return format_duration(value)
        case SecretUrl():
            return repr(value)
        case Secret():
            return repr(value) if value else ""
        case _:
            return str(value)
