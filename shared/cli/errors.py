"""How the command line tells of errors: one clear line on standard error instead of a traceback."""

import os
import sys

from shared.config.exit_codes import Exit


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why and what to do."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code


def complain(text: str) -> None:
    """One line on standard error."""
    print(f"chorus: {text}", file=sys.stderr)


def report(error: BaseException) -> Exit:
    """Say what went wrong and return how to exit; with CHORUS_LOG_LEVEL=debug the traceback as well."""
    if os.environ.get("CHORUS_LOG_LEVEL") == "debug":
        import traceback

        traceback.print_exception(error)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    for raised in getattr(error, "raised", ()):
        print("".join(own_traceback(raised)), end="", file=sys.stderr)
    code = _code(error)
    said = "; ".join([str(error), *getattr(error, "__notes__", ())])
    complain(f"{type(error).__name__}: {said} (a fault of ours)" if code is Exit.INTERNAL else said)
    return code


def own_traceback(raised: Exception) -> list[str]:
    """The lines of a traceback from the first frame of a context on: how our code came there is of no use."""
    import traceback

    from shared.catalog import users_frames

    return traceback.format_exception(type(raised), raised, users_frames(raised))


def _code(error: BaseException) -> Exit:
    if isinstance(error, CommandError):  # Most are; what follows takes a third of a second to import.
        return error.code

    from cyclopts import CycloptsError

    from shared.catalog import CatalogError, UnknownContextError
    from shared.config.connection import ConnectionOptionsError
    from shared.config.settings import SettingsError
    from shared.ports.broker import BrokerDeniedError, BrokerRefusedError, BrokerUnavailableError
    from shared.ports.store import DatabaseBusyError, DatabaseError
    from shared.run.server import ServerError
    from shared.run.supervisor import NotWorthRestartingError
    from shared.run.system import DestructiveChangeError
    from shared.streams.apply import NeverAsDeclaredError
    from shared.streams.file import StreamsFileError
    from shared.wire.messages import MalformedKeyError

    match error:
        case CycloptsError() | MalformedKeyError() | UnknownContextError():
            return Exit.USAGE
        case BrokerDeniedError():
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
        ):
            return Exit.MISCONFIGURED
        case NotWorthRestartingError():
            return error.code
        case _:
            return Exit.INTERNAL
