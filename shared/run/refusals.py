"""Programs that refuse to start, and the exit code for all of them."""

from collections.abc import Mapping
from typing import NamedTuple

from shared.config.exit_codes import Exit


class Refusal(NamedTuple):
    """Why a program does not start: its exit code, 64, 77 or 78, and its last error line."""

    code: int
    reason: str


class NotWorthRestartingError(Exception):
    """Programs refuse to start, and a restart would not help. `code` is their common exit code, or 78."""

    def __init__(self, refusals: Mapping[str, Refusal]) -> None:
        super().__init__("\n".join(describe_refusal(name, refusal) for name, refusal in refusals.items()))
        self.code = code_of(refusals)


def describe_refusal(name: str, refusal: Refusal) -> str:
    """A sentence that says which program does not start, and why."""
    return f"{name} cannot start (exit code {refusal.code}): {refusal.reason}"


def code_of(refusals: Mapping[str, Refusal]) -> Exit:
    """The exit code for programs that refuse to start: their common code, 78 when they differ, 0 when there is none."""
    codes = {refusal.code for refusal in refusals.values()} or {Exit.OK}
    return Exit(codes.pop()) if len(codes) == 1 else Exit.MISCONFIGURED
