"""Whether a promotion is on: it is announced once, and may be ended before its time.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. A code that has ended stays ended.
"""

from datetime import datetime
from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.ordering.commands import AnnouncePromotion, EndPromotion, PromotionCommand
from contexts.ordering.events import PromotionAnnounced, PromotionEnded, PromotionEvent
from shared.context import Rejected

Status: TypeAlias = Literal["UNKNOWN", "ANNOUNCED", "ENDED"]


class Promotion(Struct, frozen=True, kw_only=True):
    """One promotion; an UNKNOWN one was not announced yet."""

    status: Status = "UNKNOWN"
    announced: PromotionAnnounced | None = None

    def valid_at(self, at: datetime) -> PromotionAnnounced | None:
        """The terms of the promotion; None when it is not valid at that time."""
        if self.status != "ANNOUNCED" or self.announced is None:
            return None
        return self.announced if self.announced.begins <= at < self.announced.until else None


def decide(command: PromotionCommand, promotion: Promotion, *, currency: str) -> tuple[PromotionEvent | Rejected, ...]:
    """Decide on the command: no event when it was answered before."""
    match command:
        case AnnouncePromotion():
            return _announce(command, promotion, currency)
        case EndPromotion():
            if promotion.status == "UNKNOWN":
                return (Rejected.at("unknown_promotion", "$", f"{command.code} was not announced"),)
            return () if promotion.status == "ENDED" else (PromotionEnded(code=command.code),)
        case _:
            assert_never(command)


def evolve(promotion: Promotion, event: PromotionEvent) -> Promotion:
    """The promotion after one of its events."""
    match event:
        case PromotionAnnounced():
            assert promotion.status == "UNKNOWN", promotion.status
            return Promotion(status="ANNOUNCED", announced=event)
        case PromotionEnded():
            assert promotion.status == "ANNOUNCED", promotion.status
            return replace(promotion, status="ENDED")
        case _:
            assert_never(event)


def _announce(
    command: AnnouncePromotion, promotion: Promotion, currency: str
) -> tuple[PromotionAnnounced | Rejected, ...]:
    announced = PromotionAnnounced(
        code=command.code,
        percent_off=command.percent_off,
        skus=command.skus,
        begins=command.begins,
        until=command.until,
        minimum_total=command.minimum_total,
    )
    if promotion.status == "ANNOUNCED" and promotion.announced == announced:
        return ()
    if promotion.status == "ANNOUNCED":
        return (Rejected.at("announced_otherwise", "$", f"{command.code} is another promotion; use a new code"),)
    if promotion.status == "ENDED":
        return (Rejected.at("promotion_ended", "$", f"{command.code} has ended; use a new code"),)
    if command.until <= command.begins:
        return (Rejected.at("ends_before_it_begins", "$.until", "a promotion ends after it begins"),)
    if command.minimum_total is not None and command.minimum_total.currency != currency:
        return (Rejected.at("wrong_currency", "$.minimum_total.currency", f"the shop charges in {currency}"),)
    return (announced,)
