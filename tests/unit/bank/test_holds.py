"""The decisions of the bank in every state of a payment, and about every kind of token."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from contexts.bank.account import PLENTY_MINOR, Account
from contexts.bank.commands import (
    AccountId,
    Authorize,
    CaptureHold,
    Done,
    HoldCommand,
    PlaceHold,
    Reason,
    RefundCapture,
    Refused,
    Verify,
    VerifyAccount,
    VoidHold,
)
from contexts.bank.endpoints import authorize, endpoints, key_of, reply, verify
from contexts.bank.events import (
    AccountOpened,
    AmountHeld,
    Balance,
    BankRequestRefused,
    CaptureRefunded,
    HoldCaptured,
    HoldPlaced,
    HoldReleased,
    HoldVoided,
    MoneyTransferred,
)
from contexts.bank.hold import Hold, decide, evolve
from contexts.kernel import MethodToken, Money, PaymentId
from tests.unit.deciding import BANK, aggregate_of, decided, state_of

PAYMENT = PaymentId("pay-o-42")
PAYER, MERCHANT = AccountId("tok_ok_1"), AccountId("merchant")
TOTAL = Money(amount_minor=4200)
PART = Money(amount_minor=1000)

PLACE = PlaceHold(payment_id=PAYMENT, account_id=PAYER, amount=TOTAL)
CAPTURE = CaptureHold(payment_id=PAYMENT, amount=TOTAL)
VOID = VoidHold(payment_id=PAYMENT)
REFUND = RefundCapture(payment_id=PAYMENT, amount=TOTAL)

HELD = Hold(status="HELD", account_id=PAYER, amount=TOTAL)
VOIDED = replace(HELD, status="VOIDED")
CAPTURED = replace(HELD, status="CAPTURED")
REFUNDED = replace(HELD, status="REFUNDED", refunded_minor=4200)
REFUSED = Hold(status="REFUSED", account_id=PAYER)

SOME = Account(status="OPEN", owner="ann", balances={"EUR": 5000}, held={"EUR": 4200})
SHOP = Account(status="OPEN", balances={"EUR": 9000})
ACCOUNTS: Mapping[str, Account] = {PAYER: SOME, MERCHANT: SHOP}


def refusal(events: tuple[Struct, ...]) -> Reason | None:
    outcome = reply(events)
    return outcome.reason if isinstance(outcome, Refused) else None


def transferred(source: AccountId, target: AccountId, amount: Money, *balances: int, from_hold: bool = False) -> Any:
    return tuple(
        MoneyTransferred(
            account_id=account,
            source=source,
            target=target,
            amount=amount,
            reference=PAYMENT,
            balance_minor=balance,
            from_hold=from_hold,
            balance=Balance(amount_minor=balance, currency="EUR"),
        )
        for account, balance in zip((source, target), balances, strict=True)
    )


def test_authorization_holds_a_part_of_the_balance() -> None:
    account = replace(SOME, held={})
    assert decide(PLACE, Hold(), {PAYER: account}) == (
        HoldPlaced(payment_id=PAYMENT, account_id=PAYER, amount=TOTAL),
        AmountHeld(account_id=PAYER, payment_id=PAYMENT, amount=TOTAL, held_minor=4200),
    )


def test_authorization_beyond_what_is_available_is_refused() -> None:
    events = decide(PLACE, Hold(), ACCOUNTS)
    assert refusal(events) == "insufficient_funds"
    assert [type(event) for event in events] == [BankRequestRefused]


def test_account_that_is_seen_for_the_first_time_has_plenty() -> None:
    opened, *held = decide(PLACE, Hold(), {PAYER: Account()})
    balance = Balance(amount_minor=PLENTY_MINOR, currency="EUR")
    amount = Money(amount_minor=PLENTY_MINOR)
    assert opened == AccountOpened(account_id=PAYER, owner="", amount=amount, balance=balance)
    assert opened.reference == "opening"
    assert [type(event) for event in held] == [HoldPlaced, AmountHeld]


def test_account_that_was_opened_has_only_what_was_paid_in() -> None:
    assert refusal(decide(PLACE, Hold(), {PAYER: Account(status="OPEN", owner="ann")})) == "insufficient_funds"


def test_account_that_payments_opened_has_plenty_of_every_currency() -> None:
    known = Account(status="OPEN", balances={"EUR": 1})
    dollars = replace(PLACE, amount=Money(amount_minor=5, currency="USD"))
    assert refusal(decide(dollars, Hold(), {PAYER: known})) is None


def test_capture_moves_all_that_is_held() -> None:
    assert decide(CAPTURE, HELD, ACCOUNTS) == (
        HoldCaptured(payment_id=PAYMENT, account_id=PAYER, amount=TOTAL),
        *transferred(PAYER, MERCHANT, TOTAL, 800, 13_200, from_hold=True),
    )


def test_void_lets_go_what_is_held() -> None:
    assert decide(VOID, HELD, ACCOUNTS) == (
        HoldVoided(payment_id=PAYMENT, account_id=PAYER),
        HoldReleased(account_id=PAYER, payment_id=PAYMENT, amount=TOTAL, held_minor=0),
    )


def test_refund_moves_all_of_it_back() -> None:
    events = decide(REFUND, CAPTURED, ACCOUNTS)
    refunded = CaptureRefunded(payment_id=PAYMENT, account_id=PAYER, amount=TOTAL, refunded_minor=4200)
    assert events == (refunded, *transferred(MERCHANT, PAYER, TOTAL, 4800, 9200))
    assert evolve(CAPTURED, refunded).status == "REFUNDED"


def test_refund_of_a_part_leaves_the_rest_to_refund() -> None:
    part = replace(REFUND, amount=PART)
    refunded, *moved = decide(part, CAPTURED, ACCOUNTS)
    assert refunded == CaptureRefunded(payment_id=PAYMENT, account_id=PAYER, amount=PART, refunded_minor=1000)
    assert tuple(moved) == transferred(MERCHANT, PAYER, PART, 8000, 6000)
    left = replace(CAPTURED, refunded_minor=1000)
    assert evolve(CAPTURED, refunded) == left
    assert refusal(decide(REFUND, left, ACCOUNTS)) == "not_possible"
    assert refusal(decide(replace(REFUND, amount=Money(amount_minor=3200)), left, ACCOUNTS)) is None


def test_refund_that_the_merchant_cannot_pay_any_more_is_refused() -> None:
    poor = {**ACCOUNTS, MERCHANT: Account(status="OPEN", balances={"EUR": 4199})}
    assert refusal(decide(REFUND, CAPTURED, poor)) == "insufficient_funds"


def test_void_that_comes_first_forbids_the_authorization() -> None:
    (voided,) = decide(VOID, Hold(), ACCOUNTS)
    assert isinstance(voided, HoldVoided)
    assert refusal(decide(PLACE, evolve(Hold(), voided), ACCOUNTS)) == "not_possible"


@pytest.mark.parametrize(
    ("command", "hold", "reason"),
    [
        (PLACE, HELD, "not_possible"),
        (PLACE, REFUSED, "not_possible"),
        (CAPTURE, Hold(), "not_possible"),
        (CAPTURE, REFUSED, "not_possible"),
        (CAPTURE, VOIDED, "not_possible"),
        (CAPTURE, CAPTURED, "not_possible"),
        (replace(CAPTURE, amount=Money(amount_minor=4199)), HELD, "not_possible"),
        (replace(CAPTURE, amount=Money(amount_minor=4200, currency="USD")), HELD, "not_possible"),
        (VOID, REFUSED, None),
        (VOID, VOIDED, None),
        (VOID, CAPTURED, "not_possible"),
        (VOID, REFUNDED, "not_possible"),
        (REFUND, Hold(), "not_possible"),
        (REFUND, HELD, "not_possible"),
        (REFUND, REFUNDED, "not_possible"),
        (replace(REFUND, amount=Money(amount_minor=4201)), CAPTURED, "not_possible"),
        (replace(REFUND, amount=Money(amount_minor=0)), CAPTURED, "not_possible"),
        (replace(REFUND, amount=Money(amount_minor=1, currency="USD")), CAPTURED, "not_possible"),
    ],
)
def test_too_early_or_too_late_moves_nothing(command: HoldCommand, hold: Hold, reason: Reason | None) -> None:
    events = decide(command, hold, ACCOUNTS)
    assert refusal(events) == reason
    assert [type(event) for event in events] == ([BankRequestRefused] if reason else [])
    assert all(evolve(hold, event) == hold for event in events if isinstance(event, BankRequestRefused))


@pytest.mark.parametrize("token", ["tok_declined_1", "merchant"])
def test_declined_token_fails_to_verify_and_to_authorize(token: str) -> None:
    account = AccountId(token)
    (decider,) = [one for one in BANK.deciders if VerifyAccount in one.commands]
    assert refusal(tuple(decided(decider, VerifyAccount(account_id=account), {}))) == "declined"
    assert refusal(decide(replace(PLACE, account_id=account), Hold(), {account: SOME})) == "declined"


def test_any_other_token_verifies() -> None:
    (decider,) = [one for one in BANK.deciders if VerifyAccount in one.commands]
    assert decided(decider, verify(Verify(method_token=MethodToken("tok_poor_1"))), {}) == []
    assert reply(()) == Done()


def test_token_that_refuses_the_capture_stays_held_until_it_is_voided() -> None:
    held = replace(HELD, account_id=AccountId("tok_nocapture_1"))
    (refused,) = decide(CAPTURE, held, ACCOUNTS)
    assert refusal((refused,)) == "capture_refused"
    assert isinstance(refused, BankRequestRefused)
    assert evolve(held, refused) == held
    assert refusal(decide(VOID, held, {AccountId("tok_nocapture_1"): SOME})) is None


def test_token_that_refuses_refunds_gives_in_at_the_third() -> None:
    payer = AccountId("tok_norefund_1")
    hold = replace(CAPTURED, account_id=payer)
    accounts: Mapping[str, Account] = {MERCHANT: SHOP, payer: SOME}
    reasons: list[Reason | None] = []
    for _ in range(3):
        events = decide(REFUND, hold, accounts)
        reasons.append(refusal(events))
        hold = evolve(hold, events[0])  # type: ignore[arg-type]  # The event of the payment comes first.
    assert reasons == ["refund_refused", "refund_refused", None]
    assert hold.status == "REFUNDED"


def test_merchant_receives_what_one_payment_held_through_all_its_life() -> None:
    """The events of each decision, folded by their aggregates: every balance and every hold agrees on the way."""
    states: dict[str, Any] = {}
    (decider,) = [one for one in BANK.deciders if PlaceHold in one.commands]
    for command in (PLACE, CAPTURE, replace(REFUND, amount=PART)):
        for event in decided(decider, command, states):
            aggregate = aggregate_of(BANK, event)
            identity = aggregate.id_of(event)
            states[identity] = aggregate.evolve(state_of(states, aggregate, identity), event)
    assert states["account-merchant"].balances == {"EUR": 3200}
    assert states[f"account-{PAYER}"].balances == {"EUR": PLENTY_MINOR - 3200}
    assert states[f"account-{PAYER}"].held == {"EUR": 0}


def test_names_that_no_subject_can_carry_are_told_apart_and_keep_their_beginning() -> None:
    asked = Authorize(payment_id=PaymentId("pay." + 190 * "x"), method_token=MethodToken("tok_slow é"), amount=TOTAL)
    command = authorize(asked)
    assert command.account_id.startswith("tok_slow--")
    assert len(command.payment_id) == 64
    assert key_of("a.b") != key_of("a-b") != key_of("a b")
    assert key_of("tok_ok") == "tok_ok"


def test_only_tokens_that_ask_for_it_hold_answers_back() -> None:
    (endpoint,) = [one for one in endpoints(2.0) if one.operation == "capture"]

    def reply_delay(account: str) -> float:
        captured = HoldCaptured(payment_id=PAYMENT, account_id=AccountId(account), amount=TOTAL)
        return endpoint.reply_delay_s(CAPTURE, (captured,))

    assert [reply_delay("tok_ok"), reply_delay("tok_slow_1"), reply_delay("tok_lost_1")] == [0.0, 2.0, float("inf")]
