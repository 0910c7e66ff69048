"""`chorus new context` and `chorus new readside`: a context with its tests, its canvas and its place in every list."""

import importlib
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from shared import catalog
from shared.access.of_system import users_of
from shared.access.server import rights_file
from shared.config.atomic_file import alone_in
from shared.config.settings import Settings, contexts_package
from shared.new.changes import Changes, NewError, changes
from shared.new.formatting import format_modules
from shared.new.heard import find_heard
from shared.new.listings import LISTINGS, OF_READ_SIDES, Entered, listed_in
from shared.new.names import check_context_name, names_of, names_of_read_side
from shared.new.rendering import render
from shared.new.words import words_of, words_of_read_side
from shared.schemas.files import DIRECTORY, committed, files_of
from shared.streams import choreography

TESTS: Final = PurePosixPath("tests/unit")
RIGHTS: Final = PurePosixPath("deploy/nats/rights.conf")
GOLDEN: Final = "tests.contract.golden"
"""The module with which a repository writes the golden examples of its events, where it has one."""


class Written(NamedTuple):
    """The files that were written or changed, and the steps that are left to the builder."""

    files: tuple[Path, ...]
    next_steps: tuple[str, ...]


def write_context(name: str, hears: Iterable[str], directory: Path, settings: Settings) -> Written:
    """Write a context into the package of contexts of this directory, which is the current one.

    Raises:
        NewError: nothing was written.
        CatalogError: the contexts that are there have mistakes; nothing was written.
    """
    return _write(name, hears, directory, settings, is_read_side=False)


def write_read_side(name: str, hears: Iterable[str], directory: Path, settings: Settings) -> Written:
    """Write a read side into the package of contexts of this directory; it hears at least one event.

    Raises:
        NewError, CatalogError: as for a context.
    """
    return _write(name, hears, directory, settings, is_read_side=True)


def _write(name: str, hears: Iterable[str], directory: Path, settings: Settings, *, is_read_side: bool) -> Written:
    check_context_name(name)
    package = contexts_package()
    folder = _package_folder(package, directory)
    with alone_in(directory):
        if (folder / name).exists() or (folder / f"{name}.py").exists():
            raise NewError(f"{_shown(folder / name, directory)} exists already; choose another name")
        if (tests := directory / TESTS / name).exists():
            raise NewError(f"{_shown(tests, directory)} exists already; choose another name, or move it away")
        members = catalog.contexts(settings)
        heard = find_heard(hears, members, package)
        if is_read_side and not heard:
            raise NewError("a read side hears the events of others; give --hears CONTEXT.EVENT")
        names = names_of_read_side(name, heard) if is_read_side else names_of(name, heard, members)
        words = words_of_read_side(names, heard, package) if is_read_side else words_of(names, heard, package)
        rendered = render("readside" if is_read_side else "context", words)
        files = _files(rendered, name, folder.relative_to(directory), directory, hears_any=bool(heard))
        entered = Entered(names, words["key"], heard, tuple(members), package.replace(".", "/"))
        with changes() as made:
            for path, text in files.items():
                made.create(path, text)
            format_modules(made.written, directory)
            for path, text in listed_in(directory, entered, OF_READ_SIDES if is_read_side else LISTINGS):
                made.replace(path, text)
            left = _write_choreography(made, directory, settings)
            _write_rights(made, directory, settings)
            _write_schemas(made, directory, settings)
        examples, failed = ((), ()) if is_read_side else _write_golden(directory)
    to_do: tuple[str, ...]
    if is_read_side:
        to_do = (f"say in {package.replace('.', '/')}/{name} what it keeps: now it keeps what was said last",)
    else:
        to_do = _to_do(name, words, directory)
    return Written((*made.written, *examples), (*to_do, *left, *failed))


def _package_folder(package: str, directory: Path) -> Path:
    """Return the folder of the package; raises NewError when it is not one of this directory."""
    catalog.names()  # Raises CatalogError where there is no such package at all.
    found = [Path(path).resolve() for path in importlib.import_module(package).__path__]
    folder = directory / package.replace(".", "/")
    if folder.resolve() not in found or not folder.is_dir():
        raise NewError(
            f"the package {package!r} is not in this directory but in {found[0] if found else 'none'}; go to the"
            " directory of your system, or make one: chorus new system DIR"
        )
    return folder


def _files(
    rendered: Mapping[PurePosixPath, str], context: str, folder: Path, directory: Path, *, hears_any: bool
) -> dict[Path, str]:
    if not hears_any:
        rendered = {path: text for path, text in rendered.items() if path.name not in ("policies.py", "upstream.py")}
    files = {}
    for above in (TESTS.parent, TESTS):
        if not (directory / above / "__init__.py").exists():
            files[directory / above / "__init__.py"] = ""
    for path, text in rendered.items():
        of_tests = path.parts[0] == "tests"
        target = TESTS / context / path.name if of_tests else PurePosixPath(folder.as_posix()) / context / path
        files[directory / target] = text
    return files


def _write_choreography(made: Changes, directory: Path, settings: Settings) -> tuple[str, ...]:
    """Write who says and hears what, now that the context is there; raises NewError when it cannot be loaded."""
    importlib.invalidate_caches()
    members = catalog.members(settings)
    file = settings.streams_file
    if not file.resolve().is_relative_to(directory.resolve()):
        place = f"beside the package {contexts_package()}"
        return (f"make a streams.yaml of your own: copy {file} {place}, and run chorus streams write",)
    made.keep(file)
    if choreography.write(file, members):
        made.written.append(file)
    return ()


def _write_rights(made: Changes, directory: Path, settings: Settings) -> None:
    """Write the rights of all users again, where the repository shows them."""
    file = directory / RIGHTS
    if file.is_file():
        made.replace(file, rights_file(users_of(settings)))


def _write_schemas(made: Changes, directory: Path, settings: Settings) -> None:
    """Write the schemas of all messages, where the repository has them."""
    place = directory / DIRECTORY
    if not place.is_dir():
        return
    before = committed(place)
    for path, content in files_of(catalog.members(settings).values(), title=contexts_package()).items():
        if path not in before:
            made.create(place / path, content.decode())
        elif content != before[path]:
            made.replace(place / path, content.decode())


def _write_golden(directory: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Have the repository write the golden examples of the new events; return the files, or the step that is left."""
    if not (directory / f"{GOLDEN.replace('.', '/')}.py").is_file():
        return (), ()
    command = [sys.executable, "-m", GOLDEN]
    wrote = subprocess.run(  # noqa: S603 - the repository's own module
        command, cwd=directory, capture_output=True, text=True, check=False
    )
    if wrote.returncode != 0:
        problem = (wrote.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return (), (f"write the golden examples: python -m {GOLDEN} (it failed: {problem})",)
    return tuple(directory / line for line in wrote.stdout.splitlines()), ()


def _to_do(name: str, words: Mapping[str, str], directory: Path) -> tuple[str, ...]:
    camel, folder = words["Camel"], words["package"].replace(".", "/")
    steps = [
        f"say in {folder}/{name} what it does: now it reserves {words['a']} {words['aggregate']}, and gives it back"
    ]
    if words["heard"] and (directory / folder / "sagas.py").exists():
        steps.append(f"say in {folder}/sagas.py how a saga ends, where {name} changes that")
    if (directory / "CHANGELOG.md").exists():
        steps.append(f"tell of {camel}Reserved and {camel}Released in CHANGELOG.md")
    return tuple(steps)


def _shown(path: Path, directory: Path) -> str:
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)
