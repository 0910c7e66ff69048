"""The contexts of a system, found by looking: each `contexts/<name>/worker.py` says what its context is.

Importing them by name is what lets the machinery run every context and know none.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from shared.config.environment import DeclaredSettings, Setting, describe, load_settings, make_settings
from shared.config.settings import Settings, contexts_package
from shared.config.spelling import did_you_mean
from shared.context import Context, Member
from shared.mistakes.contexts import between, within
from shared.readside.group import ReadSide


class CatalogError(Exception):
    """The contexts cannot be run as they are; `problems` is a line per mistake.

    `raised` are the exceptions that the contexts' own modules raised, with their tracebacks.
    """

    def __init__(self, problems: tuple[str, ...], raised: tuple[Exception, ...] = ()) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.raised = raised


class UnknownContextError(CatalogError):
    """There is no context of this name; the text says which there are."""


def names() -> tuple[str, ...]:
    """Every context's name, sorted; raises CatalogError when there is no such package."""
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


def load(name: str, settings: Settings) -> Context:
    """One context; raises as `load_member`, and CatalogError for the read side, which decides nothing."""
    member = load_member(name, settings)
    if not isinstance(member, Context):
        raise CatalogError((f"{name} is the read side: it has no journal, and decides nothing",))
    return member


def load_member(name: str, settings: Settings) -> Member:
    """One context or read side.

    Raises:
        UnknownContextError: there is none of this name.
        CatalogError: it does not say what it is, its code raises, or something within it does not fit.
    """
    check_known(name)
    member = _declared(name, settings)
    if mistakes := within(member):
        raise CatalogError(tuple(mistake.text for mistake in mistakes))
    return member


def _declared(name: str, settings: Settings) -> Member:
    where = place(name, "worker.py")
    worker = _module(f"{name}.worker")
    if worker is None:
        raise CatalogError((f"{where} is missing: it declares the context as one value",))
    declare = getattr(worker, "context", None) or getattr(worker, "read_side", None)
    if declare is None:
        raise CatalogError((f"{where} has no function context(settings) or read_side(settings)",))
    own = settings.narrowed(_settings_type(name))
    with _of_the_context(where):
        declared = declare(own)
    if not isinstance(declared, Context | ReadSide) or declared.name != name:
        raise CatalogError((f"{where} does not declare a Context or ReadSide named {name!r}",))
    return declared


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of this environment, those of every context among them; raises SettingsError.

    A context whose settings.py raises is left out here, and cannot be loaded itself.
    """
    declared: dict[str, type[Settings]] = {}
    for name in names():
        with suppress(CatalogError):
            declared[name] = _settings_type(name)
    all_declared = len(declared) == len(names())
    return load_settings(environ, declared, all_declared=all_declared)


def settings_with(values: Mapping[str, Any]) -> Settings:
    """Settings with these values by name, of the machinery or of any context; raises SettingsError."""
    return make_settings(values, declared_settings())


def described_settings(environ: Mapping[str, str]) -> tuple[Setting, ...]:
    """Every setting with its value, its default and where it comes from; raises SettingsError."""
    return describe(read_settings(environ), environ, declared_settings())


def declared_settings() -> DeclaredSettings:
    """The settings that contexts declare; raises CatalogError."""
    return {name: declared for name in names() if (declared := _settings_type(name)) is not Settings}


def _settings_type(name: str) -> type[Settings]:
    """Return the Struct that the context's settings.py declares; Settings itself where there is no such module."""
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


def directory() -> Path:
    """The directory of the package."""
    return Path(importlib.import_module(contexts_package()).__path__[0])


def place(name: str, file: str) -> str:
    """Where a file of a context is, for messages: `contexts/here/worker.py`."""
    return f"{contexts_package().replace('.', '/')}/{name}/{file}"


def _module(name: str) -> ModuleType | None:
    """A module of the package; None where there is none."""
    package = contexts_package()
    full = f"{package}.{name}"
    try:
        with _of_the_context(f"{full.replace('.', '/')}.py", absent=full):
            return importlib.import_module(full)
    except ModuleNotFoundError:
        return None


def users_frames(raised: Exception) -> TracebackType | None:
    """The traceback of what a context raised, without the frames that only lead there."""
    frames = raised.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(
        ("<frozen", __file__, importlib.__file__)
    ):
        frames = frames.tb_next
    return frames


@contextmanager
def _of_the_context(where: str, absent: str = "") -> Iterator[None]:
    """Let the code of a context run; what it raises becomes a CatalogError, unless the module `absent` is not there."""
    try:
        yield
    except CatalogError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and absent and error.name == absent:
            raise
        raise CatalogError((f"{where}: {type(error).__name__}: {error}",), (error,)) from error


def declared_in(module: str, attribute: str) -> Any | None:
    """An attribute of a module of the package itself, such as DEMO in its demo.py; None without such a module."""
    declaring = _module(module)
    return None if declaring is None else getattr(declaring, attribute)


def file_of(module: str) -> Path | None:
    """The file of a module of the package itself, such as its sagas.py; None without such a module."""
    return Path(file) if (file := getattr(_module(module), "__file__", None)) else None


class Loaded(NamedTuple):
    """The contexts and read sides that can run, and why the others cannot, by name.

    Those in `misfits` load and have mistakes; those in `broken` do not load.
    """

    members: Mapping[str, Context]
    read_sides: Mapping[str, ReadSide]
    misfits: Mapping[str, CatalogError]
    broken: Mapping[str, CatalogError]

    @property
    def running(self) -> Mapping[str, Member]:
        """The contexts and the read sides together."""
        return {**self.members, **self.read_sides}

    def reason(self, name: str) -> CatalogError | None:
        """Why a context cannot run; None for one that can, and for one that is not there."""
        return self.broken.get(name) or self.misfits.get(name)


def load_all(settings: Settings) -> Loaded:
    """Every context that can run, although others may have mistakes; raises CatalogError without a package."""
    found: dict[str, Member] = {}
    broken: dict[str, CatalogError] = {}
    for name in names():
        try:
            found[name] = _declared(name, settings)
        except CatalogError as error:
            broken[name] = error
    texts: dict[str, list[str]] = {}
    mistakes = [mistake for member in found.values() for mistake in within(member)]
    for mistake in (*mistakes, *between(found, frozenset(broken))):
        texts.setdefault(mistake.context, []).append(mistake.text)
    misfits = {name: CatalogError(tuple(problems)) for name, problems in texts.items()}
    fit = {name: member for name, member in found.items() if name not in misfits}
    return Loaded(
        {name: member for name, member in fit.items() if isinstance(member, Context)},
        {name: member for name, member in fit.items() if isinstance(member, ReadSide)},
        misfits,
        broken,
    )


def contexts(settings: Settings) -> Mapping[str, Context]:
    """All contexts by name, without read sides; raises as `members`."""
    return {name: member for name, member in members(settings).items() if isinstance(member, Context)}


def members(settings: Settings) -> Mapping[str, Member]:
    """All contexts and read sides by name; raises CatalogError with everything that is wrong, at once."""
    loaded = load_all(settings)
    if wrong := [*loaded.broken.values(), *loaded.misfits.values()]:
        problems = tuple(problem for error in wrong for problem in error.problems)
        raise CatalogError(problems, tuple(raised for error in wrong for raised in error.raised))
    return loaded.running
