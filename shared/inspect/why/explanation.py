"""Explains what a saga waits for: its causes, the most likely one first, and how each saga of the key stands."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from shared.context import Context
from shared.inspect.why.causes import TROUBLES, Cause, Kind, causes_of, deadlines, silences
from shared.inspect.why.evidence import Evidence, Silence
from shared.inspect.why.next_commands import next_commands
from shared.inspect.why.pauses import pauses
from shared.saga import Saga
from shared.wire.about import About


class Explanation(Struct, frozen=True, kw_only=True):
    """The causes, the first one first, and how each saga of the key stands."""

    key: str
    causes: tuple[Cause, ...]
    standings: tuple[str, ...]

    @property
    def is_trouble(self) -> bool:
        """Whether an operator should do something."""
        return any(cause.kind in TROUBLES for cause in self.causes)


def explain(
    evidence: Evidence, contexts: Mapping[str, Context], sagas: Iterable[Saga], standings: Sequence[str]
) -> Explanation:
    """The causes in the order in which an operator should look at them."""
    causes = list(causes_of(evidence, contexts))
    published = {f"{message.context}.{message.type}" for message in evidence.messages if message.kind == "evt"}
    begun = [saga for saga in sagas if saga.has_begun(published)]
    goes_on = [saga for saga in begun if saga.end(published) is None]
    if goes_on:
        causes += silences(evidence, contexts, named={cause.context for cause in causes})
        causes += pauses(goes_on, evidence.messages)
    causes.sort(key=lambda cause: cause.kind)
    if not published and not evidence.commands and not any(_knows(answer) for answer in evidence.answers.values()):
        text = f"nobody knows {evidence.key}: no stream has a message under it, and no context a state"
        causes.append(Cause(kind=Kind.UNKNOWN_KEY, context="", text=text, remedy="check the key and the server"))
    elif begun and not goes_on and not causes:
        causes = [Cause(kind=Kind.ENDED, context="", text=f"{evidence.key} has ended, and nothing of it is open")]
    elif goes_on and not [cause for cause in causes if cause.kind <= Kind.PAUSED]:
        answers = {name: answer for name, answer in evidence.answers.items() if isinstance(answer, About)}
        if commands := next_commands(goes_on, published, contexts, answers):
            text = f"nothing of it is under way; a command brings it on: {' or '.join(commands)}"
            causes.append(
                Cause(
                    kind=Kind.WAITS_FOR_COMMAND,
                    context=commands[0].partition(".")[0],
                    text=text,
                    remedy=f"chorus send {commands[0]} {evidence.key} --help",
                )
            )
    if not (begun and not goes_on):
        causes += deadlines(evidence)
    if not causes:
        causes.append(_nothing_open(evidence.key, has_begun=bool(begun)))
    return Explanation(key=evidence.key, causes=tuple(causes), standings=tuple(standings))


def _nothing_open(key: str, *, has_begun: bool) -> Cause:
    if not has_begun:
        return Cause(kind=Kind.NOTHING_BEGUN, context="", text=f"nothing of {key} is open, and no saga has begun")
    text = f"{key} has not ended, but nothing of it is open, and no command is known that brings it on"
    return Cause(kind=Kind.STRANDED, context="", text=text, remedy=f"chorus timeline {key}; chorus reconcile --dry-run")


def _knows(answer: About | Silence) -> bool:
    return isinstance(answer, About) and bool(answer.aggregates or answer.parked or answer.calls)
