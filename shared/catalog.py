"""The contexts of a system, found by looking: each `contexts/<name>/worker.py` says what its context is.

Importing them by name is what lets the machinery run every context and know none.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from shared.config.environment import Declared, Setting, describe, load_settings, make_settings
from shared.config.settings import Settings, contexts_package
from shared.config.spelling import did_you_mean
from shared.context import Context, Service
from shared.wire.engine_events import ENGINE_EVENTS
from shared.wire.messages import check_name

ENGINE_EVENT_NAMES = {event.__name__ for event in ENGINE_EVENTS}


class CatalogError(Exception):
    """The contexts cannot be run as they are; `problems` is a line per mistake."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UnknownContextError(CatalogError):
    """There is no context of this name; the text says which there are."""


def names() -> tuple[str, ...]:
    """Every context's name, in the alphabet's order; raises CatalogError when there is no such package."""
    package = contexts_package()
    try:
        found = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise
        where = "go to the directory that holds it, or name another one in CHORUS_CONTEXTS"
        raise CatalogError((f"there is no package {package!r} here: {where}",)) from error
    return tuple(sorted(module.name for module in pkgutil.iter_modules(found.__path__) if module.ispkg))


def check_known(name: str) -> None:
    """Raise UnknownContextError, with what was probably meant, unless there is a context of this name."""
    known = names()
    if name not in known:
        there = f"; there are {', '.join(known)}" if known else f": the package {contexts_package()} has none"
        raise UnknownContextError((f"there is no context {name!r}{did_you_mean(name, known)}{there}",))


def load(name: str, settings: Settings) -> Context | Service:
    """One context; raises UnknownContextError, or CatalogError when it does not say what it is."""
    check_known(name)
    where = place(name, "worker.py")
    worker = _module(f"{name}.worker")
    if worker is None:
        raise CatalogError((f"{where} is missing: it declares the context as one value",))
    declare = getattr(worker, "context", None) or getattr(worker, "service", None)
    if declare is None:
        raise CatalogError((f"{where} has neither context(settings) nor service(settings)",))
    declared = declare(settings.narrowed(_settings_type(name)))
    if not isinstance(declared, Context | Service) or declared.name != name:
        raise CatalogError((f"{where} does not declare a Context or Service named {name!r}",))
    return declared


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of this environment, those of every context among them; raises SettingsError."""
    return load_settings(environ, declared_settings())


def settings_with(values: Mapping[str, Any]) -> Settings:
    """Settings with these values by name, of the machinery or of any context; raises SettingsError."""
    return make_settings(values, declared_settings())


def described_settings(environ: Mapping[str, str]) -> tuple[Setting, ...]:
    """Every setting with its value, its default and where it comes from; raises SettingsError."""
    return describe(read_settings(environ), environ, declared_settings())


def declared_settings() -> Declared:
    """The settings that contexts declare; raises CatalogError."""
    return {name: declared for name in names() if (declared := _settings_type(name)) is not Settings}


def _settings_type(name: str) -> type[Settings]:
    """What the context's settings.py declares; Settings itself where there is no such module."""
    module = _module(f"{name}.settings")
    if module is None:
        return Settings
    found = [
        declared
        for declared in vars(module).values()
        if isinstance(declared, type) and issubclass(declared, Settings) and declared.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise CatalogError((f"{place(name, 'settings.py')} has to declare one Struct that inherits Settings",))
    return found[0]


def place(name: str, file: str) -> str:
    """Where a file of a context is, for messages: `contexts/here/worker.py`."""
    return f"{contexts_package().replace('.', '/')}/{name}/{file}"


def _module(name: str) -> ModuleType | None:
    """A module of the package; None where there is none."""
    full = f"{contexts_package()}.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        return None


def declared_in(module: str, attribute: str) -> Any | None:
    """What a module of the package itself declares, such as DEMO in its demo.py; None where there is no such module."""
    declaring = _module(module)
    return None if declaring is None else getattr(declaring, attribute)


def without_services(settings: Settings) -> tuple[str, ...]:
    """The names of the contexts, which decide and have a journal, without those of services."""
    return tuple(name for name, member in contexts(settings).items() if isinstance(member, Context))


def contexts(settings: Settings) -> Mapping[str, Context | Service]:
    """All contexts by name; raises CatalogError with everything that does not fit together."""
    found = {name: load(name, settings) for name in names()}
    wrong = problems(found)
    if wrong:
        raise CatalogError(wrong)
    return found


def problems(found: Mapping[str, Context | Service]) -> tuple[str, ...]:
    """What does not fit together: within each context, then between them."""
    members = {name: member for name, member in found.items() if isinstance(member, Context)}
    return (*(problem for name in found for problem in _names_of(name, found[name])), *_between(members))


def _names_of(name: str, member: Context | Service) -> Iterator[str]:
    kinds: list[list[str]] = [[name]]
    if isinstance(member, Context):
        kinds.append([command.__name__ for command in member.accepts])
        kinds.append([event.__name__ for event in member.publishes])
        kinds.append([timer.name for timer in member.timers])
        kinds.append([aggregate.name for aggregate in member.aggregates])
        answered = {command for decider in member.deciders for command in decider.commands}
        for command in member.accepts:
            if command not in answered:
                yield f"{name} accepts {command.__name__}, which none of its deciders answers"
    for words in kinds:
        for word in sorted(set(words)):
            if words.count(word) > 1:
                yield f"{name} uses the name {word} twice"
            if word in ENGINE_EVENT_NAMES:
                yield f"{name} uses the name {word}, which is the engine's own event in every context"
            try:
                check_name(word)
            except ValueError as error:
                yield f"{name}: {error}"


def _between(members: Mapping[str, Context]) -> Iterator[str]:
    published = {name: {event.__name__ for event in context.publishes} for name, context in members.items()}
    publishers: dict[str, list[str]] = {}
    for name in sorted(published):
        for event in published[name]:
            publishers.setdefault(event, []).append(name)
    for event, publishing in sorted(publishers.items()):
        if len(publishing) > 1:
            yield f"{event} is published by {' and '.join(publishing)}; an event has one publisher"
    for name, context in members.items():
        for policy in context.policies:
            event, source = policy.event.__name__, policy.source
            heard = f"{name} hears {source}.{event}"
            if source not in members:
                yield f"{heard}, but there is no context {source!r}{did_you_mean(source, members)}"
            elif event not in published[source] and event not in ENGINE_EVENT_NAMES:
                yield f"{heard}, which {source} never says{did_you_mean(event, published[source])}"
