"""The questions that a context answers, by their subjects."""

from shared.context import Context, Endpoints
from shared.engine.effects import EffectRunner
from shared.engine.loop import Loop
from shared.engine.monitor.alarms import Alarms
from shared.engine.ownership import PartitionOwnership
from shared.engine.publish.relay import Relay
from shared.engine.questions.about import AboutQuestion
from shared.engine.questions.lag import LagQuestion
from shared.engine.questions.listing import ListingQuestion
from shared.engine.questions.waiting import WaitingQuestion
from shared.ports.broker import Broker
from shared.ports.clock import Clock
from shared.ports.store import Store


class Questions:
    """The questions of one process.

    `broadcast` need the memory of the process that owns a partition, so all processes get them. The others are
    answered from the database, which every process of the context reads.
    """

    def __init__(
        self,
        context: Context,
        store: Store,
        broker: Broker,
        clock: Clock,
        ownership: PartitionOwnership,
        relay: Relay,
        effects: EffectRunner,
        loop: Loop,
        alarms: Alarms,
        *,
        partitions: int,
    ) -> None:
        name = context.name
        self.about = AboutQuestion(context, store, broker, clock, ownership, effects, alarms, partitions=partitions)
        lag = LagQuestion(name, broker, clock, ownership, relay, effects, loop)
        self.broadcast: Endpoints = {f"api.{name}.about": self.about.answer, f"api.{name}.lag": lag.answer}
        self.endpoints: Endpoints = {
            f"api.{name}.waiting": WaitingQuestion(name, store, clock).answer,
            f"api.{name}.list": ListingQuestion(context, store, clock).answer,
        }
