"""A decider and a policy that do nothing, for tests of what contexts declare."""

from shared.context import Command, Event, Events, State


def decide(_command: Command, _state: State) -> Events:
    return ()


def evolve(state: State, _event: Event) -> State:
    return state


def whenever_do_nothing(_event: Event) -> list[Command]:
    return []
