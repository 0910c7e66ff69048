"""Reports errors of commands: one line on standard error and an exit code, without a traceback."""

import os
import sys

from shared.config.exit_codes import Exit


class CommandError(Exception):
    """The command failed; the text says why and what to do next, and `code` is the exit code."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code


def complain(text: str) -> None:
    """Print one line to standard error."""
    print(f"chorus: {text}", file=sys.stderr)


def report(error: BaseException) -> Exit:
    """Print the error and return its exit code; print the traceback too under CHORUS_LOG_LEVEL=debug."""
    if os.environ.get("CHORUS_LOG_LEVEL") == "debug":
        import traceback

        traceback.print_exception(error)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    for raised in getattr(error, "raised", ()):
        print("".join(own_traceback(raised)), end="", file=sys.stderr)
    code = _code(error)
    text = "; ".join([str(error), *getattr(error, "__notes__", ()), *_who_may(error)])
    complain(
        f"{type(error).__name__}: {text} (a bug in Chorus; CHORUS_LOG_LEVEL=debug shows where)"
        if code is Exit.INTERNAL
        else text
    )
    return code


def own_traceback(raised: Exception) -> list[str]:
    """The lines of a traceback from the first frame of a context on, without the frames of Chorus before it."""
    import traceback

    from shared.catalog import users_frames

    return traceback.format_exception(type(raised), raised, users_frames(raised))


def _who_may(error: BaseException) -> list[str]:
    """The users who have the permission that the server denies, as a clause; empty for other errors."""
    denial = getattr(error, "denial", None)
    if denial is None:
        return []
    from shared.access.of_system import users_here
    from shared.access.roles import who_may

    try:
        named = who_may(users_here(os.environ), denial.action, denial.subject)
    except Exception:  # The code may be what is wrong; the denial is the news.
        return []
    if not named:
        return ["no user of chorus access may"]
    return [f"{' and '.join(named)} may: connect as one of these (--nkey, --context, CHORUS_ACCESS_DIR)"]


def _code(error: BaseException) -> Exit:
    if isinstance(error, CommandError):  # The common case; the imports below take a third of a second.
        return error.code

    from cyclopts import CycloptsError

    from shared.access.directory import DirectoryError
    from shared.access.keys import SeedError
    from shared.access.roles import AccessError
    from shared.catalog import CatalogError, UnknownContextError
    from shared.config.connection import ConnectionOptionsError
    from shared.config.settings import SettingsError
    from shared.ports.broker import BrokerDeniedError, BrokerLoginError, BrokerRefusedError, BrokerUnavailableError
    from shared.ports.store import DatabaseBusyError, DatabaseError
    from shared.run.refusals import NotWorthRestartingError
    from shared.run.server import ServerError
    from shared.run.system import DestructiveChangeError
    from shared.streams.apply import NeverAsDeclaredError
    from shared.streams.file import StreamsFileError
    from shared.wire.messages import MalformedKeyError

    match error:
        case CycloptsError() | MalformedKeyError() | UnknownContextError():
            return Exit.USAGE
        case BrokerDeniedError():
            return Exit.DENIED
        case BrokerLoginError():
            return Exit.MISCONFIGURED
        case BrokerUnavailableError():
            return Exit.BROKER_AWAY
        case BrokerRefusedError() | NeverAsDeclaredError() | DestructiveChangeError() | DatabaseBusyError():
            return Exit.NO
        case (
            SettingsError()
            | ConnectionOptionsError()
            | StreamsFileError()
            | CatalogError()
            | DatabaseError()
            | ServerError()
            | AccessError()
            | SeedError()
            | DirectoryError()
        ):
            return Exit.MISCONFIGURED
        case NotWorthRestartingError():
            return error.code
        case _:
            return Exit.INTERNAL
