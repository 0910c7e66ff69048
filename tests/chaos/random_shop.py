"""A whole shop in memory to which anything happens: commands, restarts, outages and time."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from contexts.bank.commands import AccountId, Deposit, OpenAccount, Some, Transfer, Withdraw
from contexts.inventory.commands import AdjustStock, ReplenishStock
from contexts.kernel import Address, CustomerId, MethodToken, Money, ReturnId, Sku, SkuQuantity
from contexts.ordering.commands import (
    AddItemsToBasket,
    AnnouncePromotion,
    ChangePrice,
    CheckOutBasket,
    EndPromotion,
    OrderLine,
    RemoveItemsFromBasket,
    RequestReturn,
    SubmitAddress,
    SubmitPaymentDetails,
)
from contexts.ordering.events import PromotionCode
from contexts.payments.commands import RetryRefund
from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturned, ReportReturnReceived
from contexts.shipping.events import ReturnExpected
from contexts.support.commands import RateSupport, ResolveTicket
from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.ports.broker import BrokerUnavailableError
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import parse_subject
from shared.wire.streams import EVENTS
from tests.chaos.checker import at_rest
from tests.chaos.evidence import read_streams
from tests.chaos.run import Run
from tests.chaos.stage import told
from tests.e2e.shop import MEMBERS, token_of
from tests.unit.shopping import CANCEL, fill_shelves, order

ATTEMPTS = 5
NO_MAILBOX = "\u00e4nn@example.com"
"""No mailer takes a letter to this address."""

Wanted: TypeAlias = dict[Sku, int]
REPORTS = {"delivered": ReportDelivered, "lost": ReportLost, "returned": ReportReturned}


class Act(NamedTuple):
    """One step: a method of RandomShop and its arguments."""

    name: str
    arguments: Mapping[str, Any]


def units(lines: Wanted) -> tuple[SkuQuantity, ...]:
    return tuple(SkuQuantity(sku=sku, quantity=quantity) for sku, quantity in lines.items())


class RandomShop:
    """Customers, carriers and staff who do anything at any time, and processes that die."""

    def open(self, seed: int) -> None:
        self.seed = seed
        self.acts: list[Act] = []
        self.open_doors()

    def open_doors(self) -> None:
        """Start the shop, with a few units of everything."""
        self.opened = ExitStack()
        self.deliveries = self.bookings = self.sent = 0
        self.away_for = timedelta()
        world = simulation(seed=self.seed, with_read_sides=True, basket_idle=timedelta(days=3))
        self.shop: Simulation = self.opened.enter_context(world)
        for sku in (Sku("mug"), Sku("tea"), Sku("pot")):
            fill_shelves(self.shop, sku, 3)

    def act(self, act: Act) -> None:
        self.acts.append(act)
        try:
            self.perform(act)
        except Exception as error:
            error.add_note(self.as_test())
            raise

    def close(self) -> None:
        self.opened.close()

    def perform(self, act: Act) -> None:
        getattr(self, act.name)(**act.arguments)

    def as_test(self) -> str:
        """The steps so far as a test of its own."""
        kind = type(self)
        steps = [f"    shop.act({act!r})" for act in self.acts]
        return "\n".join(
            (
                f"from {kind.__module__} import Act, {kind.__name__}",
                "",
                "",
                "def test_found() -> None:",
                f"    shop = {kind.__name__}()",
                f"    shop.open(seed={self.seed})",
                *steps,
                "    shop.teardown()",
            )
        )

    def place(
        self,
        key: str,
        lines: Wanted,
        token: str,
        postal_code: str,
        email: str,
        may_wait: bool,
        code: PromotionCode | None,
        twice: bool,
    ) -> None:
        placed = replace(
            order(token=token_of(key, token), postal_code=postal_code, allow_backorder=may_wait),
            lines=tuple(OrderLine(sku=sku, quantity=quantity) for sku, quantity in lines.items()),
            email=email,
            promotion_code=code,
        )
        self._send(placed, key, twice)

    def add_items(self, key: str, lines: Wanted, twice: bool) -> None:
        self._send(AddItemsToBasket(customer_id=CustomerId("c-1"), lines=units(lines)), key, twice)

    def remove_items(self, which: int, lines: Wanted) -> None:
        for key in self._one_with("ItemsAddedToBasket", which):
            self._send(RemoveItemsFromBasket(lines=units(lines)), key)

    def submit(self, which: int, street: str, token: str) -> None:
        """Submit an address and payment details."""
        address = Address(street=street, city="Bern", country="CH", postal_code="3000")
        for key in self._one_with("ItemsAddedToBasket", which):
            method = MethodToken(token_of(key, token))
            self._send(SubmitAddress(address=address), key)
            self._send(SubmitPaymentDetails(email="ann@example.com", method_token=method), key)

    def check_out(self, which: int, token: str, may_wait: bool, code: PromotionCode | None, twice: bool) -> None:
        """Submit what a basket needs, and check it out when that was answered."""
        for key in self._one_with("ItemsAddedToBasket", which):
            self.submit(which, "Hauptstr. 1", token)
            self.shop.run_until_quiet()
            self._send(CheckOutBasket(allow_backorder=may_wait, promotion_code=code), key, twice)

    def cancel(self, which: int, twice: bool) -> None:
        for key in self._one_with("OrderPlaced", which):
            self._send(CANCEL, key, twice)

    def replenish(self, sku: Sku, quantity: int, twice: bool) -> None:
        self.deliveries += 1
        self._send(ReplenishStock(quantity=quantity, delivery_id=f"d-{self.deliveries}"), sku, twice)

    def adjust(self, sku: Sku, delta: int) -> None:
        self._send(AdjustStock(delta=delta, reason="counted"), sku)

    def change_price(self, sku: Sku, minor: int, twice: bool) -> None:
        self._send(ChangePrice(unit_price=Money(amount_minor=minor)), sku, twice)

    def promote(self, code: PromotionCode, percent_off: int | None) -> None:
        """Announce a promotion, or end it."""
        if percent_off is None:
            self._send(EndPromotion(), code)
        else:
            until = self.shop.now + timedelta(days=30)
            self._send(AnnouncePromotion(percent_off=percent_off, begins=self.shop.now, until=until), code)

    def report(self, which: int, end: str, twice: bool) -> None:
        for key in self._one_with("OrderShipped", which):
            tracking_no = self.shop.content(key, "OrderShipped")["tracking_no"]
            self._send(REPORTS[end](tracking_no=tracking_no), key, twice)

    def send_back(self, which: int, return_id: ReturnId, quantity: int, skus: int, twice: bool) -> None:
        """Send this many units back of some articles of an order, which may be more than it has."""
        for key in self._one_with("DeliveryRecorded", which):
            bought = [line["sku"] for line in self.shop.content(key, "OrderPlaced")["lines"]]
            lines = tuple(SkuQuantity(sku=sku, quantity=quantity) for sku in bought[:skus])
            self._send(RequestReturn(return_id=return_id, lines=lines, reason="too blue"), key, twice)

    def receive(self, which: int, is_complete: bool, twice: bool) -> None:
        """The parcels of an order's returns come with all that was announced, or with one unit of it."""
        for key in self._one_with("ReturnExpected", which):
            announced = [event.body for event in self.shop.events(key) if event.type == "ReturnExpected"]
            for body in announced:
                expected = msgspec.json.decode(body, type=ReturnExpected)
                some = expected.lines if is_complete else (replace(expected.lines[0], quantity=1),)
                self._send(ReportReturnReceived(return_id=expected.return_id, lines=some), key, twice)

    def support(self, which: int, score: int) -> None:
        """An operator looks at a case, and the customer rates the help."""
        for key in self._one_with("TicketOpened", which):
            self._send(RetryRefund(), key)
            self._send(ResolveTicket(case="parcel_overdue", note="asked"), key)
            self._send(RateSupport(score=score), key)

    def wait(self, hours: float) -> None:
        """Let everything end that waits for no time, and then let time pass."""
        self.shop.run_until_quiet()
        self.shop.advance(hours=hours)

    def restart(self, name: str) -> None:
        self.shop.kill(name)
        self.shop.start(name)

    def away(self, name: str, hours: float) -> None:
        """A context stays away for a while."""
        self.away_for += timedelta(hours=hours)
        self.shop.kill(name)
        self.shop.advance(hours=hours)
        self.shop.start(name)

    def restart_server(self) -> None:
        """Stop the broker, with messages on their way, and start it again."""
        self.shop.server.stop()
        self.shop.server.start()

    def book(self, account: AccountId, booking: str, minor: int, twice: bool) -> None:
        """Open an account of the bank, or book on it."""
        self.bookings += 1
        amount, reference = Some(amount_minor=minor), f"b-{self.bookings}"
        commands: Mapping[str, Struct] = {
            "open": OpenAccount(owner=account),
            "deposit": Deposit(amount=amount, reference=reference),
            "withdraw": Withdraw(amount=amount, reference=reference),
            "transfer": Transfer(to=AccountId("a-1"), amount=amount, reference=reference),
        }
        self._send(commands[booking], account, twice)

    def teardown(self) -> None:
        """Let everything end, and look for a broken promise."""
        with self.opened, tempfile.TemporaryDirectory() as directory:
            self.shop.run_until_quiet()
            self.shop.advance(hours=2)
            streams = self.shop.run(read_streams(MemoryBroker(self.shop.server)))
            databases = {name: self.shop.directory / f"{name}.db" for name in MEMBERS}
            of_shop = catalog.settings_with({"data_dir": self.shop.directory})
            evidence = replace(Run(of_shop, streams, databases).copied(Path(directory)).evidence(), away=self.away_for)
            findings = self.shop.run(at_rest(evidence))
        if findings:
            raise AssertionError(f"{told(findings)}\n\n{self.as_test()}")

    def _one_with(self, event: str, which: int) -> Iterator[str]:
        """The key of one such event; none when there is no such event yet."""
        stored = self.shop.server.stream(EVENTS).messages.values()
        subjects = (parse_subject(message.subject) for message in stored)
        if keys := list(dict.fromkeys(subject.key for subject in subjects if subject.type == event)):
            yield keys[which % len(keys)]

    def _send(self, command: Struct, key: str, twice: bool = False) -> None:
        for _ in range(1 + twice):
            self.sent += 1
            self._publish(command, key, f"sent-{self.sent}")

    def _publish(self, command: Struct, key: str, message_id: str) -> None:
        """Send a command until the server has acknowledged it, under one id, as a client does after an outage."""
        for _ in range(ATTEMPTS - 1):
            with suppress(BrokerUnavailableError):
                self.shop.send(command, key=key, message_id=message_id)
                return
        self.shop.send(command, key=key, message_id=message_id)
