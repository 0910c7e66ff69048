"""Random commands, restarts, outages and time in a whole shop in memory: at rest, every promise is kept.

Hypothesis chooses the steps, and shrinks those of a failure to the few that matter; the failure ends in them as a test,
to paste into a file and run. `CHORUS_SEED` seeds it.
"""

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from contexts.bank.commands import AccountId
from contexts.kernel import Sku
from contexts.ordering.events import PromotionCode
from tests.chaos.random_shop import NO_MAILBOX, Act, RandomShop
from tests.e2e.shop import MEMBERS

PARTS, PART_AT_MOST = 10, 14
"""An example has so many lists of acts. A list has 5 on average, and is shrunk to those that matter."""
FEW, MANY = 6, 200

SKUS = st.sampled_from([Sku("mug"), Sku("tea"), Sku("pot")])
TOKENS = st.sampled_from(
    [*["tok_ok"] * 4, "tok_slow", "tok_lost", "tok_poor", "tok_declined", "tok_nocapture", "tok_norefund"]
)
LINES = st.dictionaries(SKUS, st.integers(1, 4), min_size=1, max_size=3)
CODES = st.sampled_from([PromotionCode("SPRING"), PromotionCode("GIFT")])
CODE = st.sampled_from([None, None, PromotionCode("SPRING"), PromotionCode("GIFT")])
KEYS = st.sampled_from([f"o-{number}" for number in range(8)])
"""The orders, which are also the baskets."""
WHICH = st.integers(0, 7)
"""Which one, of as many as there are."""
TWICE = st.booleans()
"""Whether a command comes a second time, as a message of its own."""
ACCOUNTS = st.sampled_from([AccountId("a-1"), AccountId("a-2")])
BOOKINGS = st.sampled_from(["open", "deposit", "withdraw", "transfer"])


ACTS: Mapping[str, tuple[int, Mapping[str, st.SearchStrategy[Any]]]] = {
    "place": (
        5,
        {
            "key": KEYS,
            "lines": LINES,
            "token": TOKENS,
            "postal_code": st.sampled_from(["3000", "3000", "3000", "0000"]),
            "email": st.sampled_from([*["ann@example.com"] * 5, NO_MAILBOX]),
            "may_wait": st.booleans(),
            "code": CODE,
            "twice": TWICE,
        },
    ),
    "add_items": (4, {"key": KEYS, "lines": LINES, "twice": TWICE}),
    "remove_items": (1, {"which": WHICH, "lines": LINES}),
    "submit": (1, {"which": WHICH, "street": st.sampled_from(["Hauptstr. 1", "Nowhere Lane 7"]), "token": TOKENS}),
    "check_out": (3, {"which": WHICH, "token": TOKENS, "may_wait": st.booleans(), "code": CODE, "twice": TWICE}),
    "cancel": (1, {"which": WHICH, "twice": TWICE}),
    "replenish": (4, {"sku": SKUS, "quantity": st.integers(1, 9), "twice": TWICE}),
    "adjust": (1, {"sku": SKUS, "delta": st.sampled_from([-1, 1])}),
    "change_price": (1, {"sku": SKUS, "minor": st.sampled_from([1, 300]), "twice": TWICE}),
    "promote": (1, {"code": CODES, "percent_off": st.sampled_from([10, 90, None])}),
    "report": (5, {"which": WHICH, "end": st.sampled_from([*["delivered"] * 5, "lost", "returned"]), "twice": TWICE}),
    "send_back": (
        4,
        {
            "which": WHICH,
            "return_id": st.sampled_from(["r-1", "r-2"]),
            "quantity": st.integers(1, 3),
            "skus": st.integers(1, 3),
            "twice": TWICE,
        },
    ),
    "receive": (4, {"which": WHICH, "is_complete": st.booleans(), "twice": TWICE}),
    "support": (1, {"which": WHICH, "score": st.integers(1, 5)}),
    "wait": (6, {"hours": st.sampled_from([*[0] * 6, 0.02, 0.4, 24, 24 * 15])}),
    "restart": (1, {"name": st.sampled_from(MEMBERS)}),
    "away": (1, {"name": st.sampled_from(MEMBERS), "hours": st.sampled_from([0.02, 0.4])}),
    "restart_server": (1, {}),
    "book": (2, {"account": ACCOUNTS, "booking": BOOKINGS, "minor": st.integers(1, 600), "twice": TWICE}),
}
"""The methods of RandomShop, each with how often it is called among the others, and its arguments."""

DRAWN = (*ACTS, *(name for name, (weight, _) in ACTS.items() for _ in range(weight - 1)))
"""The names of the acts, each as often as it weighs. Every one stands once at the beginning, to which we shrink."""


@st.composite
def any_act(draw: st.DrawFn) -> Act:
    """An act by its weight."""
    name = draw(st.sampled_from(DRAWN))
    return Act(name, {argument: draw(values) for argument, values in ACTS[name][1].items()})


CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


SETTINGS = settings(phases=(Phase.generate, Phase.shrink), deadline=None, suppress_health_check=CHECKS, database=None)
"""Phase.explain would trace every line of a failure."""


def run_random(kind: type["RandomShop"], examples: int) -> None:
    """Run random acts in this many shops; raises the shortest failure that was found."""

    @settings(parent=SETTINGS, max_examples=examples)
    @given(st.integers(0, 2**16), st.tuples(*[st.lists(any_act(), max_size=PART_AT_MOST)] * PARTS))
    def do(seed: int, parts: tuple[list[Act], ...]) -> None:
        shop = kind()
        shop.open(seed)
        try:
            for act in chain.from_iterable(parts):
                shop.act(act)
        except BaseException:
            shop.close()
            raise
        shop.teardown()

    do()


@pytest.mark.timeout(1_800)  # To shrink the steps of a failure takes minutes.
@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_every_promise_is_kept_whatever_happens(examples: int) -> None:
    run_random(RandomShop, examples)


class Planted(RandomShop):
    """Breaks a promise when somebody has an address without a mailbox; it opens no shop."""

    def open_doors(self) -> None:
        """Nothing is needed."""

    def perform(self, act: Act) -> None:
        del act

    def teardown(self) -> None:
        if any(act.arguments.get("email") == NO_MAILBOX for act in self.acts):
            raise AssertionError(self.as_test())


def test_failure_ends_in_the_step_that_matters_as_a_test_to_paste() -> None:
    with pytest.raises(AssertionError) as raised:
        run_random(Planted, 10)
    found = re.search(r"^from tests\.chaos.*?shop\.teardown\(\)$", str(raised.value), re.MULTILINE | re.DOTALL)
    assert found is not None
    assert found[0].count("shop.act(") == 1
    pasted: dict[str, Any] = {}
    exec(found[0], pasted)
    with pytest.raises(AssertionError, match="def test_found"):
        pasted["test_found"]()
