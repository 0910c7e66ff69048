"""Writes an explanation as sentences that a tired person understands, and the evidence as a line for each context."""

from shared.inspect.why.causes import Kind
from shared.inspect.why.evidence import Evidence, GroupKnows
from shared.inspect.why.explanation import Explanation
from shared.wire.about import About


def sentences(explanation: Explanation) -> list[tuple[str, str]]:
    """Each cause as a sentence, and its remedy, which may be empty."""
    said = []
    for number, cause in enumerate(explanation.causes):
        waits = number == 0 and cause.kind <= Kind.DEADLINE_ARMED
        text = f"{explanation.key} waits: {cause.text}." if waits else f"{cause.text[:1].upper()}{cause.text[1:]}."
        said.append((text, cause.remedy))
    return said


def paragraph(explanation: Explanation) -> list[str]:
    """The causes as sentences, each with its remedy, and the standing of each saga."""
    lines = [line for text, remedy in sentences(explanation) for line in (text, remedy and f"    {remedy}") if line]
    return [*lines, *explanation.standings]


def facts(evidence: Evidence) -> dict[str, str]:
    """By context: its aggregates of the key, what is open there, and how far it has read; by group: how far it is."""
    said = {}
    for name, answer in sorted(evidence.answers.items()):
        if not isinstance(answer, About):
            said[name] = "no answer"
            continue
        found = [f"{one.id} is at version {one.version}, {one.last_event}" for one in answer.aggregates]
        found += [f"{one.event} is open after {one.attempts} attempts" for one in answer.calls]
        found += [f"{one.timer} is due at {one.due_at}" for one in answer.deadlines if not one.is_idle]
        found += [f"{one.subject} is parked" for one in answer.parked]
        found += [f"{one.type} is not published" for one in answer.unpublished]
        behind = [f"{one.behind} behind in {one.stream}" for one in answer.positions if one.behind]
        said[name] = "; ".join([*found, *behind]) or "nothing under this key"
    return said | {f"{group.context}, {group.group}": _group(group) for group in evidence.groups}


def _group(group: GroupKnows) -> str:
    if group.sequence is None:
        return "no answer" if group.runs else "does not run; no saga waits for it"
    behind = f"{group.behind} behind in EVENTS" if group.behind else ""
    lacks = f"it has not come to {', '.join(group.lacking)} yet" if group.lacking else ""
    return "; ".join(filter(None, (lacks, behind))) or "has folded every event of this key"
