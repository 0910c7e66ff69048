"""`chorus top`: how many sagas begin and end per second, and how long they take."""

from datetime import timedelta

from contexts.sagas import ORDER, PURCHASE
from shared.inspect.sagas.rates import SagaTail
from shared.simulation.testing import simulation
from shared.wire.messages import MSG_ID
from tests.unit.shopping import fill_shelves, order

MINUTE = timedelta(minutes=1)


def test_sagas_are_counted_by_their_ends_with_their_durations() -> None:
    with simulation(partitions=2) as shop:
        fill_shelves(shop)
        tail = SagaTail(shop._broker, (PURCHASE, ORDER), first=1)
        for number, token in enumerate(("tok_ok", "tok_ok", "tok_poor")):
            shop.send(order(token=token), key=f"o-{number}", message_id=f"m-{number}")
        shop.run_until_quiet()
        shop.run(tail.advance())
        shop.run(tail.advance())
        purchase, whole = tail.rates(shop.now, MINUTE)
        assert (purchase.saga, purchase.begun_per_s * 60) == ("purchase", 3)
        assert {end: per_s * 60 for end, per_s in purchase.ended_per_s.items()} == {"confirmed": 2, "cancelled": 1}
        assert 0 < purchase.p50_s["confirmed"] <= purchase.p99_s["confirmed"] < 5
        assert whole.ended_per_s.keys() == {"cancelled, the payment refused"}
        assert tail.events > 3


def test_older_sagas_leave_the_window_and_one_that_began_before_has_no_duration() -> None:
    with simulation(partitions=2) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-1", message_id="m-1")
        shop.run_until("o-1", "OrderPlaced")
        tail = SagaTail(
            shop._broker, (PURCHASE, ORDER), first=shop.run(shop._broker.stream_info("EVENTS")).last_sequence + 1
        )
        shop.run_until_quiet()
        shop.run(tail.advance())
        purchase, _ = tail.rates(shop.now, MINUTE)
        assert (purchase.begun_per_s, purchase.p50_s) == (0.0, {})
        assert purchase.ended_per_s.keys() == {"confirmed"}
        shop.advance(minutes=2)
        assert tail.rates(shop.now, MINUTE)[0].ended_per_s == {}


def test_message_of_a_stranger_is_passed_over() -> None:
    with simulation(partitions=2) as shop:
        shop.publish("evt.ordering.OrderPlaced.o-1", b"{}", {MSG_ID: "x"})
        shop.publish("evt.ordering.OrderPlaced.*", b"{}", {MSG_ID: "y"})
        tail = SagaTail(shop._broker, (PURCHASE, ORDER), first=1)
        shop.run(tail.advance())
        assert tail.events >= 2
        assert [rates.begun_per_s * 60 for rates in tail.rates(shop.now, MINUTE)] == [1, 1]
