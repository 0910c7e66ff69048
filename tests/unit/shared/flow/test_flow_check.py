"""`chorus flow --check` finds planted mistakes, each with its file, its line and its remedy."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import Struct

from shared.context import Context, Decider, Policy
from shared.flow.checks.check import check
from shared.flow.checks.finding import Finding
from shared.flow.graph import derive
from shared.mistakes.contexts import between, within
from shared.saga import End, Pause, Saga
from tests import diner
from tests.diner import KITCHEN, MEAL, MEAL_SALE, SALE, TILL, MealOrdered
from tests.other_system import chorus, write_travel

FILE = Path(diner.__file__)
PAUSE = Pause(event="till.SaleOpened", until=("till.SaleClosed",), ended_by="till.OpenSale", keys="sale_id")


def findings(*members: Context, sagas: Sequence[Saga] = (MEAL_SALE,)) -> tuple[Finding, ...]:
    """The findings in contexts that load."""
    found = {member.name: member for member in (*members, TILL, KITCHEN)} | {member.name: member for member in members}
    assert [mistake for member in found.values() for mistake in within(member)] == [*between(found)] == []
    return check(derive(found), sagas, FILE)


def the_one(rule: str, *members: Context, sagas: Sequence[Saga] = (MEAL_SALE,)) -> tuple[str, str]:
    """The text of the only finding of a rule, and the line at its place."""
    (finding,) = (one for one in findings(*members, sagas=sagas) if one.rule == rule)
    file, _, line = finding.place.rpartition(":")
    assert Path(file).resolve() == FILE
    assert finding.remedy
    return finding.text, FILE.read_text().splitlines()[int(line) - 1].strip()


def with_decider(context: Context, **changes: object) -> Context:
    (decider,) = context.deciders
    return replace(context, deciders=(replace(decider, **changes),))  # type: ignore[arg-type]


def without_policy(context: Context, name: str) -> Context:
    kept = tuple(policy for policy in context.policies if policy.whenever.__name__ != name)
    assert len(kept) == len(context.policies) - 1
    return replace(context, policies=kept)


PRAISED = replace(
    with_decider(
        TILL,
        aggregate=replace(SALE, events=(*diner.SALE_EVENTS, diner.SalePraised)),
        commands=(*TILL.deciders[0].commands, diner.PraiseSale),
    ),
    accepts=(diner.OpenSale, diner.PraiseSale),
)


def test_a_system_without_a_mistake_has_no_findings() -> None:
    assert findings() == ()


def test_an_event_that_nobody_hears_is_found_unless_it_is_declared() -> None:
    assert the_one("unheard event", PRAISED) == (
        "nobody hears till.SalePraised",
        "class SalePraised(Asked, frozen=True, kw_only=True): ...",
    )
    assert findings(replace(PRAISED, unheard=(diner.SalePraised,))) == ()


def test_an_event_that_no_decision_leads_to_is_found_where_it_is_heard() -> None:
    policy = Policy("till", diner.SaleForgotten, diner.whenever_sale_given_up_discard_the_meal)
    till = with_decider(TILL, aggregate=replace(SALE, events=(*diner.SALE_EVENTS, diner.SaleForgotten)))
    assert the_one("event never published", till, replace(KITCHEN, policies=(*KITCHEN.policies, policy))) == (
        "kitchen waits for till.SaleForgotten, and no decision of till leads to it",
        "def whenever_sale_given_up_discard_the_meal(event: SaleGivenUp) -> list[DiscardMeal]:",
    )


def test_an_event_that_a_method_near_the_decision_constructs_counts_for_every_command() -> None:
    """`SalePraised` is constructed in the module of the decision, and in none of the cases of these commands."""
    policy = Policy("till", diner.SalePraised, diner.whenever_sale_given_up_discard_the_meal)
    till = with_decider(TILL, aggregate=replace(SALE, events=(*diner.SALE_EVENTS, diner.SalePraised)))
    kitchen = replace(KITCHEN, policies=(*KITCHEN.policies, policy))
    assert "event never published" not in {finding.rule for finding in findings(till, kitchen)}


def test_a_command_that_nobody_gives_is_found() -> None:
    given_by_nobody = replace(PRAISED, accepts=TILL.accepts, unheard=(diner.SalePraised,))
    assert the_one("command never given", given_by_nobody) == (
        "nobody gives till.PraiseSale",
        "class PraiseSale(Asked, frozen=True, kw_only=True): ...",
    )


def test_a_cycle_of_policies_is_found_unless_an_event_of_it_is_said_once() -> None:
    def again(till: Context) -> Context:
        again = Policy("kitchen", diner.MealDiscarded, diner.whenever_the_guest_has_waited_too_long_give_up)
        return replace(till, policies=(*till.policies, again))

    assert the_one("cycle without a bound", again(TILL)) == (
        "till.SaleGivenUp leads to kitchen.MealDiscarded leads to till.SaleGivenUp, again and again",
        "def whenever_the_guest_has_waited_too_long_give_up(event: SaleOpened) -> list[GiveUpSale]:",
    )
    assert findings(again(with_decider(TILL, aggregate=replace(SALE, once=(diner.SaleGivenUp,))))) == ()


def test_a_cycle_through_an_outside_call_is_found() -> None:
    ask_again = Policy("kitchen", diner.MealCooked, diner.whenever_sale_opened_cook_the_meal)
    text, _ = the_one("cycle without a bound", replace(KITCHEN, policies=(*KITCHEN.policies, ask_again)))
    assert text == "kitchen.MealCooked leads to kitchen.MealOrdered leads to kitchen.MealCooked, again and again"


def test_a_deadline_bounds_a_cycle() -> None:
    (deadline,) = TILL.timers
    ask_again = replace(deadline, armed_by=MealOrdered, whenever_due=diner.whenever_sale_opened_cook_the_meal)
    assert findings(replace(KITCHEN, timers=(ask_again,))) == ()


def test_an_end_that_nothing_leads_to_is_found() -> None:
    till = without_policy(TILL, "whenever_meal_cooked_close_the_sale")
    assert the_one("end out of reach", till) == (
        "the saga meal sale cannot end as 'eaten': nothing leads to till.SaleClosed",
        'End(name="eaten", events=("till.SaleClosed",)),',
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pivot": "kitchen.MealCookd"}, "kitchen.MealCookd, which no context publishes (did you mean"),
        (
            {"first": ("till.SaleOpend",)},
            "which no context publishes (did you mean 'till.SaleOpened'?)",
        ),
        ({"key": "meal_id"}, "has the key meal_id, and its event till.SaleOpened has the key sale_id"),
        ({"waits_for": ("till.OpenSle",)}, "till.OpenSle, which no context accepts (did you mean 'till.OpenSale'?)"),
        ({"beyond": ("till.SaleOpend",)}, "which no context publishes (did you mean"),
        ({"pauses": (replace(PAUSE, event="till.SaleOpend"),)}, "which no context publishes (did you mean"),
        ({"pauses": (replace(PAUSE, ended_by="till.OpenSle"),)}, "till.OpenSle, which no context accepts"),
    ],
    ids=["pivot", "first", "key", "waits_for", "beyond", "pause", "end of a pause"],
)
def test_a_name_in_a_saga_that_nobody_uses_is_found(changes: dict[str, object], told: str) -> None:
    found = findings(sagas=[replace(MEAL_SALE, **changes)])  # type: ignore[arg-type]
    assert {finding.rule for finding in found} == {"unknown in a saga"}
    assert told in " ".join(finding.text for finding in found)


def test_a_step_before_the_pivot_that_nothing_undoes_is_found() -> None:
    kitchen = without_policy(KITCHEN, "whenever_sale_given_up_discard_the_meal")
    (decider,) = kitchen.deciders
    decides: Decider = replace(decider, commands=(diner.CookMeal, diner.RecordCooked))
    kitchen = replace(kitchen, deciders=(decides,))
    given_up = replace(MEAL_SALE, ends=(MEAL_SALE.ends[0], End(name="given up", events=("till.SaleGivenUp",))))
    kitchen = with_decider(kitchen, aggregate=replace(MEAL, events=(diner.MealOrdered, diner.MealCooked)))
    assert the_one("step without a compensation", kitchen, sagas=[given_up]) == (
        "whenever_sale_opened_cook_the_meal is a step of the saga meal sale before its pivot kitchen.MealCooked, and no"
        " policy undoes it",
        "def whenever_sale_opened_cook_the_meal(event: SaleOpened) -> list[CookMeal]:",
    )
    assert findings(kitchen, sagas=[replace(given_up, pivot="")]) == ()


class MoveStock(Struct, frozen=True, kw_only=True):
    sku: str = ""


class StockMoved(Struct, frozen=True, kw_only=True):
    sku: str = ""


def decide_stock(command: Struct, _state: Struct) -> tuple[Struct, ...]:
    return (StockMoved(),) if isinstance(command, MoveStock) else ()


def whenever_sale_opened_move_stock(_event: diner.SaleOpened) -> list[MoveStock]:
    return [MoveStock()]


def whenever_stock_moved_cook_what_waits(_event: StockMoved) -> list[diner.CookMeal]:
    return [diner.CookMeal()]


def test_a_step_under_another_key_is_no_step_of_the_saga() -> None:
    stock = replace(SALE, name="stock", key="sku", events=(StockMoved,))
    store = Context(
        name="store",
        deciders=(Decider(aggregate=stock, commands=(MoveStock,), decide=decide_stock),),
        policies=(Policy("till", diner.SaleOpened, whenever_sale_opened_move_stock),),
    )
    cook = Policy("store", StockMoved, whenever_stock_moved_cook_what_waits)
    assert findings(store, replace(KITCHEN, policies=(*KITCHEN.policies, cook))) == ()


def test_a_pivot_that_nothing_leads_to_is_found() -> None:
    rule = "end out of reach"
    kitchen = replace(KITCHEN, effects=(), accepts=())
    found = [finding.text for finding in findings(kitchen) if finding.rule == rule]
    assert "nothing leads to kitchen.MealCooked, the pivot of the saga meal sale" in found


def whenever_sale_opened_cook_for_free(event: diner.SaleOpened) -> list[diner.CookMeal]:
    """Needs no compensation: the guest keeps it."""
    return [diner.CookMeal(sale_id=event.sale_id)]


def test_a_step_that_needs_no_undoing_says_so_in_its_docstring() -> None:
    kitchen = without_policy(KITCHEN, "whenever_sale_opened_cook_the_meal")
    undo = without_policy(kitchen, "whenever_sale_given_up_discard_the_meal").policies
    free = Policy("till", diner.SaleOpened, whenever_sale_opened_cook_for_free)
    kitchen = replace(kitchen, policies=(free, *undo), accepts=(diner.DiscardMeal,))
    assert "step without a compensation" not in {finding.rule for finding in findings(kitchen)}


def whenever_sale_given_up_regret_it(event: diner.SaleGivenUp) -> list[diner.DiscardMeal]:
    """Compensates whenever_sale_opened_cook_a_meal."""
    return [diner.DiscardMeal(sale_id=event.sale_id)]


def test_a_compensation_of_a_policy_that_does_not_exist_is_found() -> None:
    misnamed = Policy("till", diner.SaleGivenUp, whenever_sale_given_up_regret_it)
    (finding,) = findings(replace(KITCHEN, policies=(*KITCHEN.policies, misnamed)))
    assert finding.text == (
        "whenever_sale_given_up_regret_it compensates whenever_sale_opened_cook_a_meal, which does not exist"
        " (did you mean 'whenever_sale_opened_cook_the_meal'?)"
    )


def test_a_wait_for_the_outside_without_a_deadline_is_found() -> None:
    assert the_one("wait without a deadline", replace(TILL, timers=())) == (
        "the saga meal sale waits for the outside after kitchen.MealOrdered, and no deadline ends it meanwhile",
        "async def ask_the_stove(asked: MealOrdered, _call: Call) -> RecordCooked:",
    )


def test_a_wait_for_a_client_is_found_unless_it_is_declared() -> None:
    till = without_policy(
        replace(TILL, accepts=(diner.OpenSale, diner.CloseSale)), "whenever_meal_cooked_close_the_sale"
    )
    kitchen = replace(KITCHEN, unheard=(diner.MealCooked,))
    sale = replace(MEAL_SALE, pivot="")
    assert the_one("wait without a deadline", till, kitchen, sagas=[sale]) == (
        "the saga meal sale ends as 'eaten' only after a client sends till.CloseSale, and no deadline ends the wait",
        'End(name="eaten", events=("till.SaleClosed",)),',
    )
    assert findings(till, kitchen, sagas=[replace(sale, waits_for=("till.CloseSale",))]) == ()


def test_two_judges_of_one_race_are_found() -> None:
    cooked = End(name="eaten", events=("kitchen.MealCooked",))
    given_up = End(name="given up", events=("till.SaleGivenUp",))
    text, _ = the_one("two judges of one race", sagas=[replace(MEAL_SALE, ends=(cooked, given_up), pivot="")])
    assert text == (
        "the saga meal sale can end both as 'eaten' and as 'given up': kitchen's meal and till's sale decide, each for"
        " itself"
    )


def test_a_mark_on_an_event_that_is_not_published_is_a_mistake_when_the_context_is_loaded() -> None:
    marked = replace(TILL, unheard=(diner.MealCooked,))
    (mistake,) = within(marked)
    assert mistake.text == "till: Context.unheard names MealCooked, which is not published there: remove it"
    (mistake,) = within(with_decider(TILL, aggregate=replace(SALE, once=(diner.SalePraised,))))
    assert mistake.text == "till: sale's Aggregate.once names SalePraised, which is not published there: remove it"


def test_the_command_exits_1_with_file_and_line_of_each_finding(tmp_path: Path) -> None:
    write_travel(tmp_path)
    assert chorus(tmp_path, "flow", "--check").stdout == "no mistakes; contexts: 2, sagas: 1\n"
    sagas = tmp_path / "travel/contexts/sagas.py"
    sagas.write_text(sagas.read_text().replace("hotels.RoomRefused", "hotels.RoomRefusd"))
    policies = tmp_path / "travel/contexts/hotels/policies.py"
    policies.write_text(re.sub(r"    Policy\(\"flights\", FlightReleased.*\n", "", policies.read_text()))
    said = chorus(tmp_path, "flow", "--check")
    assert (said.returncode, said.stderr) == (1, "")
    assert said.stdout.splitlines()[::2] == [
        "travel/contexts/hotels/commands.py:17: command never given: nobody gives hotels.ReleaseRoom",
        "travel/contexts/sagas.py:12: unknown in a saga: the saga trip names hotels.RoomRefusd, which no context"
        " publishes (did you mean 'hotels.RoomRefused'?)",
    ]
    assert [one["rule"] for one in json.loads(chorus(tmp_path, "flow", "--check", "--json").stdout)] == [
        "command never given",
        "unknown in a saga",
    ]
    assert chorus(tmp_path, "flow", "--check", "--saga", "trip").returncode == 64
