"""`chorus demo`: plays sagas on a whole system, in a quarter of a minute."""

import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import Connection, Json
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from anyio import CancelScope

    from shared.run.supervisor import Supervisor
    from shared.simulation.demo import Demo, Scene, Stage

READY_WITHIN_S = 60.0
INTERRUPTED = 130


def demo(
    *,
    serve: Annotated[bool, Parameter(negative="", show_default=False, help="keep it running until Ctrl-C")] = False,
    in_memory: Annotated[
        bool, Parameter(negative="", show_default=False, help="without server and processes, in virtual time")
    ] = False,
    json: Json = False,
) -> int:
    """Watch sagas come to their ends on a server of their own.

    Starts a nats-server and a process for every context in a new directory, sends
    real commands, draws what caused what in each saga, and stops everything. Exit 1
    if a saga ended otherwise than it must. With --in-memory the same sagas are
    played in this process, on JetStream's twin in memory and a virtual clock.

    For example:

        chorus demo
        chorus demo --serve
        chorus demo --in-memory
    """
    import anyio

    if serve and in_memory:
        raise CommandError(Exit.USAGE, "--serve needs a server, and --in-memory starts none; use one of them")
    played = _declared()
    directory = Path(tempfile.mkdtemp(prefix="chorus-demo-"))
    wrong: list[str] | None = None
    try:
        wrong = (
            _in_memory(played, directory, json)
            if in_memory
            else anyio.run(_until_signal, played, directory, serve, json)
        )
    finally:
        if not wrong:
            shutil.rmtree(directory, ignore_errors=True)
    if wrong:
        raise CommandError(Exit.NO, "\n".join([*wrong, f"the log of the workers is {directory / 'workers.log'}"]))
    return Exit.OK if wrong is not None else INTERRUPTED


def _declared() -> "Demo":
    """The demo that the package of contexts declares."""
    from shared import catalog
    from shared.config.settings import contexts_package

    demo: Demo | None = catalog.declared_in("demo", "DEMO")
    if demo is None:
        raise CommandError(
            Exit.NO,
            f"{contexts_package()} has no demo.py: declare DEMO there, a Demo of shared/simulation/demo.py",
        )
    return demo


async def _until_signal(demo: "Demo", directory: Path, serve: bool, as_json: bool) -> list[str] | None:
    """Play until the end or a signal: a line for each failure, or None when a signal came first."""
    import anyio

    wrong: list[str] | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_signal, tasks.cancel_scope)
        async with _stage(demo, directory) as stage:
            opening = f"every worker is ready on {stage.url}, a server that is open to this machine"
            wrong = await _perform(demo, stage, as_json, opening, "s")
            if not as_json:
                show_lines(_try_it(demo, stage, serve))
            if serve:
                await anyio.sleep_forever()
        tasks.cancel_scope.cancel()
    return wrong


def _in_memory(demo: "Demo", directory: Path, as_json: bool) -> list[str]:
    """Play in virtual time: a line for each failure."""
    import anyio

    from shared.adapters.virtual_time import VirtualLoop
    from shared.config import log
    from shared.simulation.demo_in_memory import stage_in_memory

    log.configure("error", "auto", context="demo")
    loop = VirtualLoop()

    async def play() -> list[str]:
        async with stage_in_memory(demo, directory, loop) as stage:
            wrong = await _perform(demo, stage, as_json, "every context is at work in this process", "virtual seconds")
            if not as_json:
                show_lines(["On a server and real processes: chorus demo"])
            return wrong

    return anyio.run(play, backend_options={"loop_factory": lambda: loop})


async def _cancel_on_signal(scope: "CancelScope") -> None:
    import anyio

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()


@asynccontextmanager
async def _stage(demo: "Demo", directory: Path) -> AsyncIterator["Stage"]:
    """Run a system with the demo's own settings, not those of the environment; its workers log to a file."""
    import anyio

    from shared.adapters.jetstream import connect
    from shared.config import log
    from shared.run.server import ANY_PORT
    from shared.run.system import open_system
    from shared.simulation.demo import QUIET, Stage

    log.configure("error", "auto", context="demo")
    from shared.config.settings import CONTEXTS_VARIABLE

    names = [name for name in os.environ if not name.startswith("CHORUS_") or name == CONTEXTS_VARIABLE]
    kept = {name: os.environ[name] for name in names}
    environ = {**kept, **QUIET, **demo.settings, "CHORUS_DATA_DIR": str(directory)}
    with (directory / "workers.log").open("w", buffering=1) as lines:

        def write_line(name: str, line: str) -> None:
            print(f"{name:14}| {line}", file=lines)

        async with open_system(environ, write_line=write_line, port=ANY_PORT) as system:
            with anyio.fail_after(READY_WITHIN_S):
                await system.supervisor.ready()
            broker = await connect(system.options, name="chorus demo")
            try:
                yield Stage(broker, partial(_away, system.supervisor), system.options.servers[0])
            finally:
                await broker.close()


@asynccontextmanager
async def _away(supervisor: "Supervisor", name: str) -> AsyncIterator[None]:
    program = await supervisor.stop(name)
    yield
    supervisor.start(program)


async def _perform(demo: "Demo", stage: "Stage", as_json: bool, opening: str, seconds: str) -> list[str]:
    """Play every scene and show how it ended; return a line for each failure."""
    import anyio

    from shared import catalog
    from shared.cli.commands.timeline import as_json as tree_as_json
    from shared.inspect.timeline.drawing import draw
    from shared.inspect.timeline.told_fields import ToldFields
    from shared.inspect.timeline.tree import read_saga, tree
    from shared.simulation.demo import play_all

    told_fields = ToldFields(catalog.contexts(catalog.read_settings({})).values())

    began = anyio.current_time()
    documents: list[dict[str, Any]] = []
    if not as_json:
        show_lines([opening, ""])

    async def report(scene: "Scene", wrong: list[str]) -> None:
        roots = tree(await read_saga(stage.broker, scene.key))
        shown = tree_as_json(roots, told_fields=told_fields)
        documents.append({"key": scene.key, "title": scene.title, "ok": not wrong, "tree": shown})
        if not as_json:
            title = f"[bold]{'✗' if wrong else '✓'} {scene.title}[/bold] ({scene.key})"
            show(title, draw(roots, told_fields=told_fields), "")

    wrong = await play_all(demo, stage, report)
    if as_json:
        show_json({"ok": not wrong, "wrong": wrong, "sagas": documents})
        return wrong
    right = sum(document["ok"] for document in documents)
    took_s = anyio.current_time() - began
    show_lines([f"{right} of {len(documents)} sagas ended as they must, in {took_s:.1f} {seconds}.", ""])
    return wrong


def _try_it(demo: "Demo", stage: "Stage", serve: bool) -> list[str]:
    """The lines to type next: the first command of the first scene, under a new key."""
    nats = Connection(server=stage.url if serve else None)
    key = demo.own_key
    first = next(sent for sent in stage.sent if sent.subject.endswith(f".{demo.acts[0][0].key}"))
    subject = f"{first.subject.rpartition('.')[0]}.{key}"
    return [
        "It runs until Ctrl-C. In another terminal:"
        if serve
        else "Try it: chorus demo --serve, and in another terminal",
        "",
        nats.nats("pub", "-J", subject, first.body.decode()),
        nats.nats("sub", "--stream=EVENTS", "--all", "--terminate-at-end", "--wait=1s", f"evt.*.*.*.{key}"),
        shlex.join(["chorus", "timeline", *(["-s", stage.url] if serve else []), key]),
    ]
