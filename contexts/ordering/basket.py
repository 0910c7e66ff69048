"""A basket: its lines, address and payment details, until it is checked out as the order of its id, or abandoned.

Pure: no I/O, clock, randomness or logging. It changes only while it is OPEN. An answer about an address or about
payment details counts only for the latest attempt. A change of the lines counts once for each `request_id`; one without
counts each time.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import (
    LINES_AT_MOST,
    Address,
    CustomerId,
    Line,
    MethodToken,
    OrderId,
    Sku,
    SkuQuantity,
    merged,
    units_of,
)
from contexts.ordering.changes import asked_before, remembered
from contexts.ordering.commands import (
    AbandonBasket,
    AddItemsToBasket,
    BasketCommand,
    CheckOutBasket,
    RecordAddressAnswer,
    RecordPaymentAnswer,
    RemoveItemsFromBasket,
    SubmitAddress,
    SubmitPaymentDetails,
)
from contexts.ordering.events import (
    AddressAnswerRecorded,
    AddressSubmitted,
    AlertCleared,
    AlertSet,
    BasketAbandoned,
    BasketCheckedOut,
    BasketEvent,
    BasketLeft,
    BasketTouched,
    BasketUpdated,
    ItemsAddedToBasket,
    ItemsRemovedFromBasket,
    PaymentAnswerRecorded,
    PaymentDetailsSubmitted,
    RequestId,
    ShelfEvent,
)
from contexts.ordering.order import Order, why_not_theirs
from contexts.ordering.price import ListedPrice
from contexts.ordering.pricing import quote_basket
from shared.context import Detail, Rejected

Status: TypeAlias = Literal["NEW", "OPEN", "CHECKED_OUT", "ABANDONED"]
Answer: TypeAlias = Literal["NONE", "SUBMITTED", "ACCEPTED", "REFUSED"]
Decided: TypeAlias = tuple[BasketEvent | ShelfEvent | Rejected, ...]


class Shelf(Protocol):
    """The known stock of one article, and the open baskets that hear of it."""

    @property
    def available(self) -> int:
        """The units that may still be promised."""
        ...

    def lacks(self, quantity: int) -> bool:
        """Whether the units are known to be too few."""
        ...

    def follows(self, order_id: str) -> bool | None:
        """Whether an alert of the basket is set; None when the basket is not followed."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether no more baskets can be followed."""
        ...


class Submission(Struct, frozen=True, kw_only=True):
    """The state of the latest address or of the latest payment details; `reason` is why they were refused."""

    attempt: int = 0
    answer: Answer = "NONE"
    reason: str = ""


class Basket(Struct, frozen=True, kw_only=True):
    """One basket. `shown` are the lines as the customer last saw them; `alerts` has the requested units by SKU.

    `alerts_set` counts all alerts that were ever set. `requests` are the hashes of changes by their ids, oldest first.
    """

    status: Status = "NEW"
    customer_id: CustomerId = CustomerId("")
    lines: tuple[SkuQuantity, ...] = ()
    change: int = 0
    shown: tuple[Line, ...] = ()
    checked: int = 0
    alerts: dict[Sku, int] = {}
    alerts_set: int = 0
    address: Address | None = None
    address_check: Submission = Submission()
    email: str = ""
    method_token: MethodToken = MethodToken("")
    payment_check: Submission = Submission()
    idle_at: datetime | None = None
    requests: dict[RequestId, str] = {}

    @property
    def skus(self) -> tuple[Sku, ...]:
        """The articles that it has, or that the customer last saw in it."""
        return tuple(dict.fromkeys([line.sku for line in self.lines] + [line.sku for line in self.shown]))


def decide(
    command: BasketCommand,
    basket: Basket,
    orders: Mapping[OrderId, Order],
    prices: Mapping[Sku, ListedPrice],
    shelves: Mapping[Sku, Shelf],
    *,
    basket_idle: timedelta,
    currency: str,
    require_actor: bool = False,
) -> Decided:
    """Decide on the command: no event when it was answered before, or when the basket is past it."""
    if require_actor and (refused := not_yours(command, basket)):
        return (refused,)
    match command:
        case AddItemsToBasket() | RemoveItemsFromBasket() if command.request_id in basket.requests:
            return asked_before(command, basket.requests)
        case AddItemsToBasket():
            return closed(basket, orders[command.order_id]) or _add(command, basket, prices, basket_idle, currency)
        case RemoveItemsFromBasket():
            return _not_open(basket) or _remove(command, basket, basket_idle)
        case SubmitAddress():
            return _not_open(basket) or _submit_address(command, basket, basket_idle)
        case SubmitPaymentDetails():
            return _not_open(basket) or _submit_payment_details(command, basket, basket_idle)
        case RecordAddressAnswer() if _is_awaited(command.attempt, basket, basket.address_check):
            answered = AddressAnswerRecorded(order_id=command.order_id, attempt=command.attempt, reason=command.reason)
            return (answered,)
        case RecordPaymentAnswer() if _is_awaited(command.attempt, basket, basket.payment_check):
            verified = PaymentAnswerRecorded(order_id=command.order_id, attempt=command.attempt, reason=command.reason)
            return (verified,)
        case AbandonBasket() if basket.status == "OPEN" and basket.idle_at == command.idle_at:
            return (BasketAbandoned(order_id=command.order_id), *leaves(command.order_id, basket, shelves))
        case RecordAddressAnswer() | RecordPaymentAnswer() | AbandonBasket():
            return ()
        case _:
            assert_never(command)


def evolve(basket: Basket, event: BasketEvent) -> Basket:
    """The basket after one of its events."""
    match event:
        case ItemsAddedToBasket():
            assert basket.status in ("NEW", "OPEN"), basket.status
            lines = merged((*basket.lines, *event.lines))
            opened = replace(basket, status="OPEN", customer_id=event.customer_id)
            return replace(opened, lines=lines, change=basket.change + 1, requests=remembered(basket.requests, event))
        case ItemsRemovedFromBasket():
            lines = _without(basket.lines, event.lines)
            return replace(basket, lines=lines, change=basket.change + 1, requests=remembered(basket.requests, event))
        case BasketUpdated():
            return replace(basket, shown=event.lines, checked=event.change)
        case AlertSet():
            alerts = {**basket.alerts, event.sku: event.requested}
            return replace(basket, alerts=alerts, alerts_set=basket.alerts_set + 1)
        case AlertCleared():
            left = {sku: requested for sku, requested in basket.alerts.items() if sku != event.sku}
            return replace(basket, alerts=left)
        case AddressSubmitted():
            submitted = Submission(attempt=event.attempt, answer="SUBMITTED")
            return replace(basket, address=event.address, address_check=submitted)
        case PaymentDetailsSubmitted():
            submitted = Submission(attempt=event.attempt, answer="SUBMITTED")
            return replace(basket, email=event.email, method_token=event.method_token, payment_check=submitted)
        case AddressAnswerRecorded():
            return replace(basket, address_check=_answered(event))
        case PaymentAnswerRecorded():
            return replace(basket, payment_check=_answered(event))
        case BasketTouched():
            return replace(basket, idle_at=event.idle_at)
        case BasketCheckedOut():
            assert basket.status == "OPEN", basket.status
            return replace(basket, status="CHECKED_OUT")
        case BasketAbandoned():
            assert basket.status == "OPEN", basket.status
            return replace(basket, status="ABANDONED")
        case _:
            assert_never(event)


def skus_of(command: BasketCommand) -> tuple[Sku, ...]:
    """The articles whose prices an addition reads."""
    return tuple(line.sku for line in command.lines) if isinstance(command, AddItemsToBasket) else ()


def skus_in(command: Struct, basket: Basket) -> tuple[Sku, ...]:
    """The articles that the basket has or shows: an addition reads their prices, an abandonment their shelves."""
    if isinstance(command, RemoveItemsFromBasket | SubmitAddress | SubmitPaymentDetails):
        return ()
    return basket.skus


def order_of(command: BasketCommand) -> tuple[OrderId, ...]:
    """The order of the basket's id, which a client may have placed without the basket."""
    return (command.order_id,) if isinstance(command, AddItemsToBasket) else ()


def closed(basket: Basket, order: Order) -> tuple[Rejected, ...]:
    """The refusal of a command to a basket that is closed, or whose order a client placed without it."""
    if basket.status in ("CHECKED_OUT", "ABANDONED"):
        return (Rejected.at("basket_closed", "$", f"the basket is {basket.status}; use a new id"),)
    if order.placed is not None:
        return (Rejected.at("order_already_placed", "$", "the order of this id was placed before; use a new id"),)
    return ()


def not_yours(command: BasketCommand | CheckOutBasket, basket: Basket) -> Rejected | None:
    """The refusal of a command that is not sent in the name of the basket's customer; None when it may be decided."""
    match command:
        case AddItemsToBasket():
            customer_id = command.customer_id  # Another than the basket's is refused in any case.
        case RemoveItemsFromBasket() | SubmitAddress() | SubmitPaymentDetails() | CheckOutBasket():
            customer_id = basket.customer_id
        case _:
            return None
    problem = why_not_theirs(command.acting_for, customer_id) if customer_id else ""
    return Rejected.at("not_your_basket", "$", f"{problem} of the basket") if problem else None


def leaves(order_id: OrderId, basket: Basket, shelves: Mapping[Sku, Shelf]) -> tuple[BasketLeft, ...]:
    """The shelves that a closed basket leaves."""
    return tuple(
        BasketLeft(sku=sku, order_id=order_id) for sku in basket.skus if shelves[sku].follows(order_id) is not None
    )


def _not_open(basket: Basket) -> tuple[Rejected, ...]:
    match basket.status:
        case "OPEN":
            return ()
        case "NEW":
            return (Rejected.at("basket_unknown", "$", "there is no such basket; send AddItemsToBasket first"),)
        case _:
            return (Rejected.at("basket_closed", "$", f"the basket is {basket.status}; use a new id"),)


def _add(
    command: AddItemsToBasket,
    basket: Basket,
    prices: Mapping[Sku, ListedPrice],
    basket_idle: timedelta,
    currency: str,
) -> Decided:
    if basket.customer_id not in ("", command.customer_id):
        return (Rejected.at("other_customer", "$.customer_id", "the basket belongs to another customer"),)
    added = quote_basket(command.lines, prices, currency, beside=units_of(basket.lines))
    if isinstance(added, Rejected):
        return (added,)
    lines = merged((*basket.lines, *command.lines))
    if len(lines) > LINES_AT_MOST:
        return (Rejected.at("too_many_lines", "$.lines", f"a basket has at most {LINES_AT_MOST} lines"),)
    together = quote_basket(lines, prices, currency)
    if isinstance(together, Rejected):
        details = tuple(Detail(path="$.lines", message=detail.message) for detail in together.details)
        return (replace(together, details=details),)
    items = ItemsAddedToBasket(
        order_id=command.order_id,
        customer_id=command.customer_id,
        lines=command.lines,
        change=basket.change + 1,
        request_id=command.request_id,
    )
    return (items, _touched(command, basket_idle))


def _remove(command: RemoveItemsFromBasket, basket: Basket, basket_idle: timedelta) -> Decided:
    left = units_of(basket.lines)
    missing: list[Detail] = []
    for number, line in enumerate(command.lines):
        if line.quantity > left[line.sku]:
            problem = f"the basket has {left[line.sku]} of {line.sku}"
            missing.append(Detail(path=f"$.lines[{number}]", message=problem))
        left[line.sku] -= line.quantity
    if missing:
        return (Rejected(reason="not_in_basket", details=tuple(missing)),)
    items = ItemsRemovedFromBasket(
        order_id=command.order_id,
        customer_id=basket.customer_id,
        lines=command.lines,
        change=basket.change + 1,
        request_id=command.request_id,
    )
    return (items, _touched(command, basket_idle))


def _submit_address(command: SubmitAddress, basket: Basket, basket_idle: timedelta) -> Decided:
    if command.address == basket.address and basket.address_check.answer in ("SUBMITTED", "ACCEPTED"):
        return ()
    submitted = AddressSubmitted(
        order_id=command.order_id, attempt=basket.address_check.attempt + 1, address=command.address
    )
    return (submitted, _touched(command, basket_idle))


def _submit_payment_details(command: SubmitPaymentDetails, basket: Basket, basket_idle: timedelta) -> Decided:
    is_known = (command.email, command.method_token) == (basket.email, basket.method_token)
    if is_known and basket.payment_check.answer in ("SUBMITTED", "ACCEPTED"):
        return ()
    submitted = PaymentDetailsSubmitted(
        order_id=command.order_id,
        attempt=basket.payment_check.attempt + 1,
        customer_id=basket.customer_id,
        method_token=command.method_token,
        email=command.email,
    )
    return (submitted, _touched(command, basket_idle))


def _touched(
    command: AddItemsToBasket | RemoveItemsFromBasket | SubmitAddress | SubmitPaymentDetails, basket_idle: timedelta
) -> BasketTouched:
    return BasketTouched(order_id=command.order_id, idle_at=command.asked_at + basket_idle)


def _is_awaited(attempt: int, basket: Basket, check: Submission) -> bool:
    return basket.status == "OPEN" and attempt == check.attempt and check.answer == "SUBMITTED"


def _answered(event: AddressAnswerRecorded | PaymentAnswerRecorded) -> Submission:
    return Submission(attempt=event.attempt, answer="REFUSED" if event.reason else "ACCEPTED", reason=event.reason)


def _without(lines: Sequence[SkuQuantity], removed: Sequence[SkuQuantity]) -> tuple[SkuQuantity, ...]:
    left = units_of(lines) - units_of(removed)
    return tuple(SkuQuantity(sku=sku, quantity=quantity) for sku, quantity in left.items())
