"""The decisions about a basket and about the shelves that it follows: refusals, repetitions, late answers, bounds."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from contexts.kernel import Address, CustomerId, MethodToken, Money, OrderId, Sku, SkuQuantity
from contexts.ordering import basket, check, checkout, shelf
from contexts.ordering.basket import Basket
from contexts.ordering.changes import REQUESTS_AT_MOST
from contexts.ordering.commands import (
    AbandonBasket,
    AddItemsToBasket,
    BasketCommand,
    CheckBasket,
    CheckOutBasket,
    NoteStock,
    RecordAddressAnswer,
    RecordPaymentAnswer,
    RemoveItemsFromBasket,
    ShowPrice,
    SubmitAddress,
    SubmitPaymentDetails,
)
from contexts.ordering.events import (
    AddressAnswerRecorded,
    AlertCleared,
    AlertSet,
    BasketAbandoned,
    BasketEvent,
    BasketFollowed,
    BasketTouched,
    ItemsAddedToBasket,
    PaymentAnswerRecorded,
    PriceListed,
    RequestId,
    ShelfEvent,
    StockNoted,
)
from contexts.ordering.order import Order
from contexts.ordering.shelf import BASKETS_AT_MOST, PLENTY, Shelf
from shared.context import Rejected
from tests.unit.ordering.listing import priced, promoted

KEY = OrderId("b-1")
MUG, TEA = Sku("mug"), Sku("tea")
NINE, TEN = datetime(2026, 11, 21, 9, 0, tzinfo=UTC), datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
IDLE = timedelta(hours=24)
PRICES = priced(
    PriceListed(sku=MUG, unit_price=Money(amount_minor=250)),
    PriceListed(sku=TEA, unit_price=Money(amount_minor=10**6)),
    *(PriceListed(sku=Sku(f"s-{number}"), unit_price=Money(amount_minor=1)) for number in range(101)),
)
ADDRESS = Address(street="Hauptstr. 1", city="Bern", country="CH", postal_code="3000")
LINE = SkuQuantity(sku=MUG, quantity=2)
ADD = AddItemsToBasket(order_id=KEY, customer_id=CustomerId("c-1"), lines=(LINE,), asked_at=NINE)
REMOVE = RemoveItemsFromBasket(order_id=KEY, lines=(LINE,), asked_at=NINE)
SUBMIT = SubmitAddress(order_id=KEY, address=ADDRESS, asked_at=NINE)
PAY = SubmitPaymentDetails(order_id=KEY, email="a@b", method_token=MethodToken("tok_ok"), asked_at=NINE)
CHECK = CheckBasket(order_id=KEY, change=1)
CHECK_OUT = CheckOutBasket(order_id=KEY, asked_at=NINE)

Shelves = Mapping[Sku, Shelf]
EMPTY: Shelves = defaultdict(Shelf)
FULL: Shelves = defaultdict(lambda: Shelf(available=PLENTY))


def answer(
    command: BasketCommand | CheckBasket | CheckOutBasket, state: Basket, shelves: Shelves = FULL
) -> list[object]:
    orders: Mapping[OrderId, Order] = defaultdict(Order)
    match command:
        case CheckBasket():
            return [*check.decide(command, state, PRICES, shelves, currency="EUR")]
        case CheckOutBasket():
            deadline = timedelta(minutes=15)
            decided = checkout.decide(
                command, state, orders, PRICES, shelves, promoted(), order_deadline=deadline, currency="EUR"
            )
            return [*decided]
        case _:
            return [*basket.decide(command, state, orders, PRICES, shelves, basket_idle=IDLE, currency="EUR")]


def after(*commands: BasketCommand | CheckBasket | CheckOutBasket, shelves: Shelves = FULL) -> Basket:
    """The basket after these commands, with the shelves as they are."""
    state = Basket()
    for command in commands:
        for event in answer(command, state, shelves):
            if isinstance(event, BasketEvent):
                state = basket.evolve(state, event)
    return state


def refusal(command: BasketCommand | CheckOutBasket, state: Basket) -> tuple[str, list[str]]:
    (refused,) = answer(command, state)
    assert isinstance(refused, Rejected), refused
    return refused.reason, [detail.path for detail in refused.details]


def lines(*wanted: tuple[str, int]) -> tuple[SkuQuantity, ...]:
    return tuple(SkuQuantity(sku=Sku(sku), quantity=quantity) for sku, quantity in wanted)


CHECKED_OUT = after(
    ADD,
    CHECK,
    SUBMIT,
    RecordAddressAnswer(order_id=KEY, attempt=1),
    PAY,
    RecordPaymentAnswer(order_id=KEY, attempt=1),
    CHECK_OUT,
)


def test_items_open_a_basket_and_start_its_clock() -> None:
    assert answer(ADD, Basket()) == [
        ItemsAddedToBasket(order_id=KEY, customer_id=CustomerId("c-1"), lines=(LINE,), change=1),
        BasketTouched(order_id=KEY, idle_at=NINE + IDLE),
    ]


def test_same_article_merges_and_is_taken_out_again() -> None:
    assert after(ADD, replace(ADD, lines=lines(("tea", 1), ("mug", 1)))).lines == lines(("mug", 3), ("tea", 1))
    assert after(ADD, replace(REMOVE, lines=lines(("mug", 1)))).lines == lines(("mug", 1))
    assert after(ADD, REMOVE).lines == ()


@pytest.mark.parametrize("command", [ADD, REMOVE], ids=["add", "remove"])
def test_change_with_an_id_counts_once_and_also_when_the_basket_is_closed(
    command: AddItemsToBasket | RemoveItemsFromBasket,
) -> None:
    named = replace(command, request_id=RequestId("r-1"))
    once = after(ADD, ADD, named)
    assert answer(named, once) == []
    other = replace(named, request_id=RequestId("r-2"))
    assert after(ADD, ADD, named, other).change == once.change + 1
    assert answer(named, replace(once, status="ABANDONED")) == []


@pytest.mark.parametrize(
    "other",
    [
        replace(ADD, lines=lines(("mug", 1))),
        replace(ADD, customer_id=CustomerId("c-2")),
        REMOVE,
    ],
    ids=["other_lines", "other_customer", "removed"],
)
def test_other_change_under_a_known_id_is_refused(other: AddItemsToBasket | RemoveItemsFromBasket) -> None:
    known = RequestId("r-1")
    basket_then = after(replace(ADD, request_id=known))
    assert refusal(replace(other, request_id=known), basket_then) == ("id_known_otherwise", ["$.request_id"])


def test_basket_remembers_the_newest_ids_only() -> None:
    many = [replace(ADD, request_id=RequestId(f"r-{number}")) for number in range(REQUESTS_AT_MOST + 1)]
    state = after(*many)
    assert len(state.requests) == REQUESTS_AT_MOST
    assert answer(many[1], state) == []
    assert len(answer(many[0], state)) == 2


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        (replace(ADD, customer_id=CustomerId("c-2")), ("other_customer", ["$.customer_id"])),
        (replace(ADD, lines=lines(("mug", 1), ("cup", 1))), ("unknown_sku", ["$.lines[1].sku"])),
        (replace(ADD, lines=lines(("mug", 999_999))), ("too_many_units", ["$.lines[0].quantity"])),
        (replace(ADD, lines=lines(("tea", 1_000_000))), ("total_too_large", ["$.lines"])),
        (replace(ADD, lines=lines(*((f"s-{n}", 1) for n in range(100)))), ("too_many_lines", ["$.lines"])),
        (
            replace(REMOVE, lines=lines(("tea", 1), ("mug", 2), ("mug", 1))),
            ("not_in_basket", ["$.lines[0]", "$.lines[2]"]),
        ),
    ],
    ids=["other_customer", "unknown_sku", "too_many_units", "total_too_large", "too_many_lines", "not_in_basket"],
)
def test_change_that_cannot_be_made_is_refused_at_its_place(
    command: BasketCommand, refused: tuple[str, list[str]]
) -> None:
    assert refusal(command, after(ADD)) == refused


def test_line_that_is_too_many_beside_the_basket_is_named_where_the_client_wrote_it() -> None:
    """The basket merges lines of one SKU, and has lines of its own."""
    state = after(replace(ADD, lines=lines(("s-1", 1), ("mug", 2))))
    three = replace(ADD, lines=lines(("s-2", 999_998), ("tea", 1), ("s-2", 3)))
    assert refusal(three, state) == ("too_many_units", ["$.lines[2].quantity"])
    assert refusal(replace(ADD, lines=lines(("mug", 999_999))), state) == ("too_many_units", ["$.lines[0].quantity"])


@pytest.mark.parametrize("command", [REMOVE, SUBMIT, PAY], ids=lambda command: type(command).__name__)
def test_basket_is_changed_only_while_it_is_open(command: BasketCommand) -> None:
    assert refusal(command, Basket())[0] == "basket_unknown"
    assert refusal(command, CHECKED_OUT)[0] == "basket_closed"


def test_items_are_not_added_to_a_closed_basket() -> None:
    assert refusal(ADD, CHECKED_OUT)[0] == "basket_closed"


@pytest.mark.parametrize("command", [SUBMIT, PAY], ids=lambda command: type(command).__name__)
def test_same_submission_again_is_quiet_while_it_waits_or_was_accepted(command: BasketCommand) -> None:
    accepted = (RecordAddressAnswer(order_id=KEY, attempt=1), RecordPaymentAnswer(order_id=KEY, attempt=1))
    assert answer(command, after(ADD, command)) == []
    assert answer(command, after(ADD, command, *accepted)) == []


@pytest.mark.parametrize("command", [SUBMIT, PAY], ids=lambda command: type(command).__name__)
def test_same_submission_again_is_a_new_attempt_when_it_was_refused(command: BasketCommand) -> None:
    refused = (
        RecordAddressAnswer(order_id=KEY, attempt=1, reason="unknown_street"),
        RecordPaymentAnswer(order_id=KEY, attempt=1, reason="declined"),
    )
    submitted, _ = answer(command, after(ADD, command, *refused))
    assert getattr(submitted, "attempt", None) == 2


@pytest.mark.parametrize(
    ("command", "recorded", "submit"),
    [
        (
            RecordAddressAnswer(order_id=KEY, attempt=2),
            AddressAnswerRecorded(order_id=KEY, attempt=2, reason=""),
            SUBMIT,
        ),
        (RecordPaymentAnswer(order_id=KEY, attempt=2), PaymentAnswerRecorded(order_id=KEY, attempt=2, reason=""), PAY),
    ],
    ids=["address", "payment"],
)
def test_only_the_answer_to_the_latest_attempt_counts_and_once(
    command: RecordAddressAnswer | RecordPaymentAnswer,
    recorded: AddressAnswerRecorded | PaymentAnswerRecorded,
    submit: SubmitAddress | SubmitPaymentDetails,
) -> None:
    """An answer to an older attempt is ignored (F22)."""
    other = (
        replace(submit, address=replace(ADDRESS, street="Hauptstr. 2"))
        if isinstance(submit, SubmitAddress)
        else replace(submit, email="c@d")
    )
    state = after(ADD, submit, other)
    assert answer(replace(command, attempt=1), state) == []
    assert answer(command, state) == [recorded]
    assert answer(command, basket.evolve(state, recorded)) == []
    assert answer(command, CHECKED_OUT) == []


def test_basket_is_abandoned_only_when_it_did_not_change_since() -> None:
    touched_later = after(ADD, replace(SUBMIT, asked_at=TEN))
    assert answer(AbandonBasket(order_id=KEY, idle_at=NINE + IDLE), touched_later) == []
    assert answer(AbandonBasket(order_id=KEY, idle_at=TEN + IDLE), touched_later) == [BasketAbandoned(order_id=KEY)]
    assert answer(AbandonBasket(order_id=KEY, idle_at=NINE + IDLE), CHECKED_OUT) == []


def test_check_of_an_older_change_is_quiet() -> None:
    assert answer(CHECK, after(ADD, CHECK)) == []
    assert answer(CHECK, after(ADD, ADD, replace(CHECK, change=2))) == []


def test_checkout_waits_for_the_check_of_the_last_change() -> None:
    reason, paths = refusal(CHECK_OUT, after(ADD, SUBMIT, PAY))
    assert (reason, paths) == ("basket_not_ready", ["$.lines", "$.address", "$.payment"])


def test_checkout_that_is_asked_again_is_quiet() -> None:
    assert CHECKED_OUT.status == "CHECKED_OUT"
    assert answer(CHECK_OUT, CHECKED_OUT) == []


def test_short_article_sets_an_alert() -> None:
    _, alert, followed = answer(CHECK, after(ADD), EMPTY)
    assert alert == AlertSet(order_id=KEY, sku=MUG, requested=2, available=0, number=1)
    assert followed == BasketFollowed(sku=MUG, order_id=KEY, is_short=True)


def test_alerts_of_a_basket_are_numbered_and_a_cleared_one_names_the_last() -> None:
    more = replace(ADD, lines=lines(("tea", 1)))
    short = after(ADD, CHECK, more, shelves=EMPTY)
    assert short.alerts_set == 1
    decided = answer(replace(CHECK, change=2), short, {MUG: Shelf(available=2), TEA: Shelf()})
    assert AlertCleared(order_id=KEY, sku=MUG, requested=2, available=2, number=1) in decided
    assert AlertSet(order_id=KEY, sku=TEA, requested=1, available=0, number=2) in decided


def test_alert_of_an_earlier_release_counts_though_it_has_no_number() -> None:
    unnumbered = AlertSet(order_id=KEY, sku=MUG, requested=2, available=0)
    state = basket.evolve(after(ADD), unnumbered)
    follows = shelf_after(BasketFollowed(sku=MUG, order_id=KEY, is_short=True))
    _, cleared, _ = shelf.decide(NoteStock(sku=MUG, available=2, number=1), follows, {KEY: state}, PRICES)
    assert cleared == AlertCleared(order_id=KEY, sku=MUG, requested=2, available=2, number=1)


def test_shelf_that_follows_too_many_baskets_sets_no_alert() -> None:
    busy = Shelf(baskets={OrderId(f"x-{number}"): False for number in range(BASKETS_AT_MOST)})
    assert len(answer(CHECK, after(ADD), {MUG: busy})) == 1


def shelf_after(*events: ShelfEvent) -> Shelf:
    state = Shelf()
    for event in events:
        state = shelf.evolve(state, event)
    return state


def noted(available: int, number: int = 5) -> StockNoted:
    return StockNoted(sku=MUG, available=available, number=number)


@pytest.mark.parametrize(
    ("known", "heard", "is_noted"),
    [
        (noted(3), NoteStock(sku=MUG, available=4, number=6), True),
        (noted(3), NoteStock(sku=MUG, available=3, number=6), False),
        (noted(3), NoteStock(sku=MUG, available=4, number=4), False),
        (noted(PLENTY), NoteStock(sku=MUG, available=PLENTY + 125, number=6), False),
        (noted(PLENTY), NoteStock(sku=MUG, available=PLENTY + 126, number=6), True),
        (noted(2 * PLENTY), NoteStock(sku=MUG, available=2 * PLENTY - 251, number=6), True),
        (noted(PLENTY), NoteStock(sku=MUG, available=PLENTY - 1, number=6), True),
    ],
    ids=["new", "the same", "older", "plenty and an eighth", "far more", "far less", "plenty no more"],
)
def test_level_is_noted_when_it_says_something_new(known: StockNoted, heard: NoteStock, is_noted: bool) -> None:
    """P6: an eighth more or less says nothing new where there is plenty."""
    decided = shelf.decide(heard, shelf_after(known), {}, PRICES)
    assert decided == ((noted(heard.available, heard.number),) if is_noted else ())


def test_shelf_lacks_only_units_that_it_cannot_have_by_now() -> None:
    assert Shelf(available=PLENTY).lacks(PLENTY + 126)
    assert not Shelf(available=PLENTY).lacks(PLENTY + 125)
    assert Shelf(available=PLENTY - 1).lacks(PLENTY)
    assert not Shelf(available=3).lacks(3)


@pytest.mark.parametrize("requested", [1_100, 2_000])
def test_large_alert_is_cleared_by_the_level_that_satisfies_it(requested: int) -> None:
    """Also where the level has hardly moved since it was noted last."""
    alert = AlertSet(order_id=KEY, sku=MUG, requested=requested, available=PLENTY, number=1)
    state = basket.evolve(after(ADD), alert)
    follows = shelf_after(noted(PLENTY), BasketFollowed(sku=MUG, order_id=KEY, is_short=True))
    for level in range(PLENTY, requested + 1):
        decided = shelf.decide(NoteStock(sku=MUG, available=level, number=level), follows, {KEY: state}, PRICES)
        for event in decided:
            if isinstance(event, StockNoted):
                follows = shelf.evolve(follows, event)
        if any(isinstance(event, AlertCleared) for event in decided):
            break
    assert level == requested


def test_price_that_a_basket_shows_already_is_quiet() -> None:
    state = after(ADD, CHECK)
    follows = shelf_after(BasketFollowed(sku=MUG, order_id=KEY, is_short=False))
    assert shelf.decide(ShowPrice(sku=MUG), follows, {KEY: state}, PRICES) == ()
    dearer = priced(PriceListed(sku=MUG, unit_price=Money(amount_minor=300)))
    (updated,) = shelf.decide(ShowPrice(sku=MUG), follows, {KEY: state}, dearer)
    assert getattr(updated, "total", None) == Money(amount_minor=600)
