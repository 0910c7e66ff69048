"""Ordering's reactions: the whole table stands at the foot."""

from contexts.ordering.commands import (
    AbandonBasket,
    CancelPendingOrder,
    CancelUndeliverableOrder,
    CheckBasket,
    ConfirmOrder,
    ExpireOrder,
    ExtendDeadline,
    FinishCancellation,
    LapseReturns,
    ListPrice,
    NoteStock,
    RecordAddressAnswer,
    RecordDelivery,
    RecordPaymentAnswer,
    RecordReturnReceipt,
    RecordReturnRefund,
    RecordShipment,
    ShowPrice,
)
from contexts.ordering.events import (
    BasketTouched,
    ItemsAddedToBasket,
    ItemsRemovedFromBasket,
    NextReturnExpected,
    OrderDeadlineExtended,
    OrderPlaced,
    PriceChanged,
    ReturnCounted,
)
from contexts.ordering.upstream import (
    AddressRejected,
    AddressValidated,
    InventoryBackordered,
    InventoryRejected,
    InventoryReleased,
    OrderDelivered,
    OrderShipped,
    PaymentApproved,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    ReturnReceived,
    ShipmentCancelled,
    ShipmentFailed,
    StockItemRegistered,
    StockLevelChanged,
)
from shared.context import Policy, Timer


def whenever_payment_succeeded_confirm_the_order(event: PaymentSucceeded) -> list[ConfirmOrder]:
    """Confirms the order while it is pending (P14)."""
    return [ConfirmOrder(order_id=event.order_id, payment_id=event.payment_id)]


def whenever_order_shipped_record_it(event: OrderShipped) -> list[RecordShipment]:
    """Also rejects a cancellation that waits for shipping (P18, P28)."""
    return [RecordShipment(order_id=event.order_id, tracking_no=event.tracking_no, carrier=event.carrier)]


def whenever_order_delivered_record_it(event: OrderDelivered) -> list[RecordDelivery]:
    """May come before the news of the shipment (P18)."""
    return [RecordDelivery(order_id=event.order_id, tracking_no=event.tracking_no, delivered_at=event.delivered_at)]


def whenever_payment_failed_cancel_the_order(event: PaymentFailed) -> list[CancelPendingOrder]:
    """Compensates the placement, as does the release that the same failure leads to (P21)."""
    return [CancelPendingOrder(order_id=event.order_id, reason="payment_failed")]


def whenever_inventory_released_cancel_the_order(event: InventoryReleased) -> list[CancelPendingOrder]:
    """Compensates the placement; a release that follows a cancellation finds nothing left to cancel (P21)."""
    return [CancelPendingOrder(order_id=event.order_id, reason=event.reason)]


def whenever_inventory_rejected_cancel_the_order(event: InventoryRejected) -> list[CancelPendingOrder]:
    """Compensates the placement (P22)."""
    return [CancelPendingOrder(order_id=event.order_id, reason="out_of_stock")]


def whenever_shipment_cancelled_finish_the_cancellation(event: ShipmentCancelled) -> list[FinishCancellation]:
    """Compensates whenever_payment_succeeded_confirm_the_order (P27)."""
    return [FinishCancellation(order_id=event.order_id)]


def whenever_shipment_failed_cancel_the_order(event: ShipmentFailed) -> list[CancelUndeliverableOrder]:
    """Compensates whenever_payment_succeeded_confirm_the_order (P32)."""
    return [CancelUndeliverableOrder(order_id=event.order_id)]


def whenever_inventory_backordered_extend_the_deadline(event: InventoryBackordered) -> list[ExtendDeadline]:
    """Gives the order the time of its backorder, and the usual time after that, once (P36). Needs no compensation."""
    return [ExtendDeadline(order_id=event.order_id, backorder_expires_at=event.expires_at)]


def whenever_the_deadline_of_an_order_passes_expire_it(event: OrderPlaced) -> list[ExpireOrder]:
    """Compensates the placement, unless the order is confirmed or waits for stock by then (P29)."""
    return [ExpireOrder(order_id=event.order_id, expires_at=event.expires_at)]


def whenever_an_extended_deadline_passes_expire_the_order(event: OrderDeadlineExtended) -> list[ExpireOrder]:
    """Compensates the placement, unless the order is confirmed by then (P29)."""
    return [ExpireOrder(order_id=event.order_id, expires_at=event.expires_at)]


def whenever_return_received_record_it(event: ReturnReceived) -> list[RecordReturnReceipt]:
    """Also records a parcel that comes after its return lapsed (P55)."""
    return [RecordReturnReceipt(order_id=event.order_id, return_id=event.return_id, lines=event.lines)]


def whenever_payment_refunded_record_the_end_of_its_return(event: PaymentRefunded) -> list[RecordReturnRefund]:
    """Ends the return that the refund is for; the refund of a whole order is for none (P55)."""
    if event.return_id is None:
        return []
    return [RecordReturnRefund(order_id=event.order_id, return_id=event.return_id, amount=event.amount)]


def whenever_the_parcel_of_a_return_has_not_come_let_it_lapse(event: ReturnCounted) -> list[LapseReturns]:
    """Comes due with the first return of the order that may still be on its way (P52)."""
    return [LapseReturns(order_id=event.order_id, due_at=event.expires_at)]


def whenever_the_next_parcel_of_a_return_has_not_come_let_it_lapse(event: NextReturnExpected) -> list[LapseReturns]:
    """Comes due with each further return (P52)."""
    return [LapseReturns(order_id=event.order_id, due_at=event.expires_at)]


def whenever_stock_item_registered_list_its_price(event: StockItemRegistered) -> list[ListPrice]:
    """Makes the article known to ordering: no order for it is taken before (P50)."""
    return [ListPrice(sku=event.sku, unit_price=event.unit_price)]


def whenever_items_are_added_to_a_basket_check_them_against_stock(event: ItemsAddedToBasket) -> list[CheckBasket]:
    """Shows the basket at its prices, and sets an alert for each article that is short (P1)."""
    return [CheckBasket(order_id=event.order_id, change=event.change)]


def whenever_items_are_removed_from_a_basket_check_the_others(event: ItemsRemovedFromBasket) -> list[CheckBasket]:
    """Shows the basket without them; an alert may be satisfied now (P1)."""
    return [CheckBasket(order_id=event.order_id, change=event.change)]


def whenever_a_stock_level_changes_clear_the_alerts_it_satisfies(event: StockLevelChanged) -> list[NoteStock]:
    """Also keeps the level for the baskets to come (P1, P6)."""
    return [NoteStock(sku=event.sku, available=event.available, number=event.number)]


def whenever_a_price_changes_show_it_in_the_baskets(event: PriceChanged) -> list[ShowPrice]:
    """Shows the price that is current now, which may be newer than this change (F28)."""
    return [ShowPrice(sku=event.sku)]


def whenever_an_address_is_validated_record_it(event: AddressValidated) -> list[RecordAddressAnswer]:
    """Counts only for the latest attempt (P4)."""
    return [RecordAddressAnswer(order_id=event.order_id, attempt=event.attempt)]


def whenever_an_address_is_rejected_record_it(event: AddressRejected) -> list[RecordAddressAnswer]:
    """Counts only for the latest attempt (P4)."""
    return [RecordAddressAnswer(order_id=event.order_id, attempt=event.attempt, reason=event.reason)]


def whenever_a_payment_is_approved_record_it(event: PaymentApproved) -> list[RecordPaymentAnswer]:
    """Counts only for the latest attempt (P5)."""
    return [RecordPaymentAnswer(order_id=event.order_id, attempt=event.attempt)]


def whenever_a_payment_is_declined_record_it(event: PaymentDeclined) -> list[RecordPaymentAnswer]:
    """Counts only for the latest attempt (P5)."""
    return [RecordPaymentAnswer(order_id=event.order_id, attempt=event.attempt, reason=event.reason)]


def whenever_a_basket_has_been_idle_too_long_abandon_it(event: BasketTouched) -> list[AbandonBasket]:
    """Leaves a basket alone that has changed since (P7)."""
    return [AbandonBasket(order_id=event.order_id, idle_at=event.idle_at)]


POLICIES: tuple[Policy, ...] = (
    Policy("payments", PaymentSucceeded, whenever_payment_succeeded_confirm_the_order),
    Policy("shipping", OrderShipped, whenever_order_shipped_record_it),
    Policy("shipping", OrderDelivered, whenever_order_delivered_record_it),
    Policy("payments", PaymentFailed, whenever_payment_failed_cancel_the_order),
    Policy("inventory", InventoryReleased, whenever_inventory_released_cancel_the_order),
    Policy("inventory", InventoryRejected, whenever_inventory_rejected_cancel_the_order),
    Policy("inventory", InventoryBackordered, whenever_inventory_backordered_extend_the_deadline),
    Policy("shipping", ShipmentCancelled, whenever_shipment_cancelled_finish_the_cancellation),
    Policy("shipping", ShipmentFailed, whenever_shipment_failed_cancel_the_order),
    Policy("shipping", ReturnReceived, whenever_return_received_record_it),
    Policy("payments", PaymentRefunded, whenever_payment_refunded_record_the_end_of_its_return),
    Policy("inventory", StockItemRegistered, whenever_stock_item_registered_list_its_price, past="all"),
    Policy(
        "inventory",
        StockLevelChanged,
        whenever_a_stock_level_changes_clear_the_alerts_it_satisfies,
        past="last",
    ),
    Policy("ordering", ItemsAddedToBasket, whenever_items_are_added_to_a_basket_check_them_against_stock),
    Policy("ordering", ItemsRemovedFromBasket, whenever_items_are_removed_from_a_basket_check_the_others),
    Policy("ordering", PriceChanged, whenever_a_price_changes_show_it_in_the_baskets),
    Policy("shipping", AddressValidated, whenever_an_address_is_validated_record_it),
    Policy("shipping", AddressRejected, whenever_an_address_is_rejected_record_it),
    Policy("payments", PaymentApproved, whenever_a_payment_is_approved_record_it),
    Policy("payments", PaymentDeclined, whenever_a_payment_is_declined_record_it),
)

TIMERS: tuple[Timer, ...] = (
    Timer(
        name="OrderDeadline",
        armed_by=OrderPlaced,
        at=lambda placed: placed.expires_at,
        whenever_due=whenever_the_deadline_of_an_order_passes_expire_it,
    ),
    Timer(
        name="ExtendedDeadline",
        armed_by=OrderDeadlineExtended,
        at=lambda extended: extended.expires_at,
        whenever_due=whenever_an_extended_deadline_passes_expire_the_order,
    ),
    Timer(
        name="ReturnDeadline",
        armed_by=ReturnCounted,
        at=lambda counted: counted.expires_at,
        whenever_due=whenever_the_parcel_of_a_return_has_not_come_let_it_lapse,
    ),
    Timer(
        name="NextReturnDeadline",
        armed_by=NextReturnExpected,
        at=lambda expected: expected.expires_at,
        whenever_due=whenever_the_next_parcel_of_a_return_has_not_come_let_it_lapse,
    ),
    Timer(
        name="BasketIdle",
        armed_by=BasketTouched,
        at=lambda touched: touched.idle_at,
        whenever_due=whenever_a_basket_has_been_idle_too_long_abandon_it,
    ),
)
