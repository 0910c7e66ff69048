"""Tells whether a deadline still matters: whether its commands would lead to any event if it were due now."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from shared.context import Context, Timer
from shared.ports.rows import JournalRow


def would_act(context: Context, timer: Timer, armed: JournalRow, states: Mapping[str, str], due_at: str) -> bool:
    """Put the commands of a timer to their deciders. `states` are the aggregates of the key as JSON, by id.

    True also where that cannot be told: a decision that needs other aggregates, or one that raises.
    """
    try:
        decoder = context.decoder_of(timer.armed_by)
        due = datetime.fromisoformat(due_at)
        event = decoder.decode(armed.body, key=armed.key, at=due, headers=armed.headers)
        for command in timer.whenever_due(event):
            decider = next(one for one in context.deciders if type(command) in one.commands)
            aggregate = decider.aggregate
            stored = states.get(aggregate.id_of(command))
            state = aggregate.state() if stored is None else msgspec.json.decode(stored, type=aggregate.state)
            if decider.decide(command, state, *({} for _ in decider.also_reads)):
                return True
    except Exception:
        return True
    return False
