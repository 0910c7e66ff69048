"""Explores one corner of the shop: the contexts around one key, where commands of clients race.

The search is the Explorer's. Some commands are decided first, so that the race begins in the state that it is about.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import chain
from typing import Any

from msgspec import Struct

from shared import catalog
from tests.contract.declared import declared
from tests.unit.explorer import FOR_BASKETS, SILENCES, STEPS_AT_MOST, Explorer, Outside, World
from tests.unit.outcomes import Said


class Corner(Explorer):
    """The contexts around one key, in which some commands are decided first and then others race.

    A command of a client comes once; anything else may arrive twice.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        outside: Outside,
        unheard: tuple[str, ...] = FOR_BASKETS,
        silences: tuple[str, ...] = SILENCES,
    ) -> None:
        settings = catalog.settings_with({"dispatch_delay": timedelta(0)})
        super().__init__(settings, (), outside=outside, deadline_races=False)
        self.contexts = declared(settings, *names)
        self.unheard, self.silences = unheard, silences

    def ends(
        self, begun: Sequence[tuple[str, Struct]], *racing: tuple[str, Struct], twice: int = 1
    ) -> list[tuple[Mapping[str, Any], Counter[str], Mapping[str, Any]]]:
        """Every end: the aggregates by id, how often each event was published in the race, and the bank's aggregates.

        The commands `begun` are decided one after the other, each with all that follows from it.
        """
        world = self._start((), 0)
        for command in begun:
            world = self._settled(world, command)
        before = self._said(world)
        flying = tuple(self._message(name, (command,)) for name, command in racing)
        start = world._replace(messages=tuple(sorted(flying)), spare=twice)
        return [self._end(last, before) for last in self._last(start)]

    def _may_come_twice(self, message: int) -> bool:
        """Whether it is no command of a client: the inbox knows the id of one that comes again."""
        at, commands = self.messages.values[message]
        return not any(isinstance(command, self.contexts[at].accepts) for command in commands)

    def _settled(self, world: World, command: tuple[str, Struct]) -> World:
        world = world._replace(messages=(self._message(command[0], (command[1],)),))
        for _ in range(STEPS_AT_MOST):
            following = self._following(world)
            if not following:
                return world
            world = following[0]
        raise AssertionError(f"messages are still in flight after {STEPS_AT_MOST} steps")

    def _end(self, world: World, before: Said) -> tuple[Mapping[str, Any], Counter[str], Mapping[str, Any]]:
        states = dict(chain.from_iterable(self.locals.values[local].states.items() for local in world.locals))
        said = Counter[str]()
        for (_, event), times in (self._said(world) - before).items():
            said[event] += times
        return states, said, self.banks.values[world.bank]
