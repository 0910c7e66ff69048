"""`chorus`: one command line for clients, operators, testers and builders.

Every import waits until it is needed. This file holds the text of `chorus --help`, and a call imports the module of its
command only, because cyclopts, rich and nats-py each take longer to import than everything else here.
"""

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from shared.cli.errors import CommandError, report
from shared.config.exit_codes import Exit
from shared.config.release import release


class Command(NamedTuple):
    """A command: its words, the function that it calls, and its purpose."""

    words: str
    function: str
    purpose: str


COMMANDS = (
    Command("demo", "demo:demo", "Watch sagas come to their ends on a server of their own."),
    Command("up", "up:up", "Run a server and every worker, until Ctrl-C."),
    Command("new system", "new:system", "Make a small system of two contexts that runs."),
    Command("new context", "new:context", "Make a context in the system of this directory."),
    Command("new readside", "new:read_side", "Make a read side in the system of this directory."),
    Command("worker", "worker:worker", "Run one worker of one context."),
    Command("door", "door:door", "Answer HTTP requests with commands."),
    Command("send", "send:send", "Send a command, and wait for its outcome if asked."),
    Command("timeline", "timeline:timeline", "Show what caused what for one key, with times."),
    Command("why", "why:why", "Explain what a saga waits for."),
    Command("ls", "ls:ls", "List sagas: status, age, last event, and what holds each up."),
    Command("lag", "lag:lag", "Show how far each context is behind, partition by partition."),
    Command("top", "top:top", "Show rates, latencies, lag and what is stuck, on one screen."),
    Command("console", "console:console", "Show the system in a browser, until Ctrl-C."),
    Command("flow", "flow:flow", "Draw who reacts to what, and find the mistakes."),
    Command("show", "show:show_aggregate", "Show an aggregate as of any version of it, or any time."),
    Command("streams plan", "streams:plan", "Show what `streams apply` and `streams write` would change."),
    Command("streams write", "streams:write", "Write the choreography of the contexts into streams.yaml."),
    Command("streams apply", "streams:apply", "Create and update the streams and consumers."),
    Command("schema export", "schema:export", "Write the schemas of all messages, from the code."),
    Command("schema check", "schema:check", "Name each change of a message that breaks readers or writers."),
    Command("parked ls", "parked:ls", "List what waits for an operator."),
    Command("parked show", "parked:show_one", "Show parked messages and refused events whole."),
    Command("parked retry", "parked_verdicts:retry", "Try a parked key again, in order."),
    Command("parked skip", "parked_verdicts:skip", "Skip a parked message or event, and record who did and why."),
    Command("parked void", "parked_verdicts:void", "Declare that a message under a context's id is a stranger's."),
    Command("access plan", "access:plan", "Show what `access apply` would change."),
    Command("access apply", "access:apply", "Make keys for each user, and rights for the server."),
    Command("access show", "access:show", "Show who may say what, derived from the code."),
    Command("access export", "access:export", "Write rights, JWTs or nats contexts for other tools."),
    Command("config", "config:config", "List the settings: value, default and where each comes from."),
    Command("rebuild", "rebuild:rebuild", "Rebuild the lost database of a context from EVENTS."),
    Command("replay", "replay:replay", "Decide what is recorded again, with the code at hand."),
    Command("reconcile", "reconcile:reconcile", "Publish again the events that the streams have lost."),
    Command("audit", "audit:audit", "Find the events that no journal has."),
    Command("health", "health:health", "Tell whether the workers on this machine are well."),
)

EXAMPLES = {
    "": (
        "chorus demo",
        "chorus up",
        "chorus send CONTEXT.COMMAND KEY FIELD=VALUE --wait",
        "chorus timeline KEY",
    ),
    "schema": ("chorus schema export", "chorus schema check"),
    "streams": ("chorus streams plan", "chorus streams write", "chorus streams apply"),
    "new": ("chorus new system DIR", "chorus new context NAME --hears CONTEXT.EVENT"),
    "access": ("chorus access show producer", "chorus access plan", "chorus access apply"),
    "parked": ("chorus parked ls", "chorus parked show KEY", "chorus parked retry KEY"),
}
"""By the first word of their commands."""

NOTES = """
Commands find the server as the nats CLI does: flags, variables such as
NATS_URL, the selected nats context, nats://127.0.0.1:4222.
Exit codes: 0 ok, 1 no, 64 usage, 69 broker away, 70 a bug in Chorus,
77 no permission, 78 bad configuration.
"""

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    if not {"", os.getcwd()} & {*sys.path}:
        sys.path.insert(0, os.getcwd())  # As `python -m` does, so that the contexts of this directory are found.
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    words = " ".join(word for word in argv if word not in ("--help", "-h"))
    if words in EXAMPLES:
        print(overview(words), end="")
        return Exit.OK
    try:
        code = _call(argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # The reader has closed the pipe.
        return Exit.OK
    except Exception as error:
        return report(error)


def overview(group: str) -> str:
    """The text of `chorus --help`, or of `chorus streams --help` for a group."""
    return "\n".join(
        (
            f"Usage: chorus {group + ' ' if group else ''}COMMAND [OPTIONS]",
            "",
            "Choreographed sagas on NATS JetStream: every context decides for itself.",
            "",
            "Commands:",
            *(f"  {command.words:14} {command.purpose}" for command in COMMANDS if command.words.startswith(group)),
            "",
            "Examples:",
            *(f"  {example}" for example in EXAMPLES[group]),
            "",
            "chorus COMMAND --help shows its options and more examples.",
            NOTES,
        )
    )


def _call(argv: Sequence[str]) -> int:
    known = {command.words.partition(" ")[0] for command in COMMANDS}
    if not argv[0].startswith("-") and argv[0] not in known:
        from shared.config.spelling import did_you_mean

        raise CommandError(Exit.USAGE, f"there is no command {argv[0]!r}{did_you_mean(argv[0], known)}; see --help")

    if argv[0] == "send" and {"--help", "-h"} & {*argv} and not argv[1].startswith("-"):
        from shared.cli.commands.send_fields import show_fields

        show_fields(argv[1])
        return Exit.OK

    from cyclopts import App

    app = App(
        name="chorus",
        version=release,
        help_format="plaintext",
        help_formatter="default" if sys.stdout.isatty() else "plain",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    groups = {"": app}
    for command in COMMANDS:
        group, _, name = command.words.rpartition(" ")
        if group not in groups:
            app.command(groups.setdefault(group, App(name=group)))
        groups[group].command(f"shared.cli.commands.{command.function}", name=name)
    code = app(list(argv))
    return Exit.OK if code is None else int(code)
