"""Nobody changes an order or a basket of another customer where a frontend says for whom each command is sent."""

from msgspec.structs import replace

from contexts.ordering.commands import CheckOutBasket, SubmitAddress
from shared.simulation.testing import simulation
from tests.sagas import SHIPPED
from tests.unit.ordering.test_checkout_in_memory import BERN, KEY, NOWHERE, add, pay, remove, send
from tests.unit.shopping import CANCEL, ended, ending_of, fill_shelves, order


def test_stranger_s_cancel_is_refused_and_the_order_ships() -> None:
    with simulation(seed=1, partitions=2, require_actor=True) as shop:
        fill_shelves(shop)
        shop.send(replace(order(), acting_for="c-1"), key="o-1")
        shop.send(replace(CANCEL, acting_for="c-2"), key="o-1", message_id="hers")
        shop.send(CANCEL, key="o-1", message_id="nobodys")
        shop.run_until_quiet()
        refusals = [event for event in shop.events("o-1") if event.type == "CommandRejected"]
        assert {event.caused_by for event in refusals} == {"hers", "nobodys"}
        assert all(b"not_your_order" in event.body for event in refusals)
        assert ended(shop, "o-1") is None
        assert "OrderShipped" in shop.facts("o-1")


def test_customer_cancels_an_order_of_hers() -> None:
    with simulation(seed=1, partitions=2, require_actor=True, at_work=["ordering"]) as shop:
        shop.start("inventory")
        fill_shelves(shop)
        shop.send(replace(order(), acting_for="c-1"), key="o-1")
        shop.send(replace(CANCEL, acting_for="c-1"), key="o-1")
        shop.run_until_quiet()
        assert "OrderCancelled" in shop.facts("o-1")


def test_basket_of_another_customer_is_neither_changed_nor_checked_out() -> None:
    with simulation(seed=1, partitions=2, require_actor=True) as shop:
        fill_shelves(shop)
        opening = [add(1), pay(), SubmitAddress(address=BERN)]
        send(shop, *(replace(command, acting_for="c-1") for command in opening))
        ready = shop.facts(KEY)
        commands = [add(1), remove(1), SubmitAddress(address=NOWHERE), pay("tok_hers"), CheckOutBasket()]
        for number, command in enumerate(commands):
            shop.send(replace(command, acting_for="c-2"), key=KEY, message_id=f"hers-{number}")
            shop.send(command, key=KEY, message_id=f"nobodys-{number}")
        shop.run_until_quiet()
        assert shop.facts(KEY) == [*ready, *["CommandRejected"] * 10]
        refusals = [event for event in shop.events(KEY) if event.type == "CommandRejected"]
        assert all(b"not_your_basket" in event.body for event in refusals)
        send(shop, replace(CheckOutBasket(), acting_for="c-1"))
        assert "OrderPlaced" in shop.facts(KEY)


def test_actors_are_not_required_by_default() -> None:
    with simulation(seed=1, partitions=2) as shop:
        fill_shelves(shop)
        shop.send(replace(order(), acting_for="somebody"), key="o-1")
        shop.run_until_quiet()
        ending_of(shop, "o-1", SHIPPED)
