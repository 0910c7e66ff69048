"""The group integration exists where an endpoint is set, and hears the events that were chosen."""

import sqlite3
from contextlib import closing

import pytest

from shared import catalog
from shared.adapters.sqlite.views.forwards import SqliteForwardRows, make_forwards
from shared.adapters.sqlite.views.tables import SCHEMA, make_tables
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.config.settings import SettingsError
from shared.ports.forwards import ForwardRow
from shared.ports.views import Known
from shared.readside.group import Group

URL = {"CHORUS_FORWARD_URL": "https://user:a-password@partner.example/hook"}
SECRET = {"CHORUS_FORWARD_SECRET": "a-secret-of-16-or-more"}


def integration(environ: dict[str, str]) -> Group | None:
    return catalog.load_all(catalog.read_settings(environ)).read_sides["insights"].group("integration")


def test_there_is_no_such_group_without_an_endpoint() -> None:
    assert integration({}) is None


def test_it_hears_the_events_that_were_chosen_or_all_that_may_be() -> None:
    everything = integration(URL | SECRET)
    some = integration(URL | SECRET | {"CHORUS_FORWARD_EVENTS": "OrderShipped, OrderPlaced"})
    assert everything is not None
    assert some is not None
    assert len(everything.hears) == 10
    assert [(source, event.__name__) for source, event in some.hears] == [
        ("ordering", "OrderPlaced"),
        ("shipping", "OrderShipped"),
    ]
    assert "a-secret" not in repr(some)
    assert "a-password" not in repr(some)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (URL | {"CHORUS_FORWARD_SECRET": "short"}, "CHORUS_FORWARD_SECRET: give 16 characters or more"),
        (SECRET | {"CHORUS_FORWARD_URL": "ftp://x"}, "CHORUS_FORWARD_URL: give a URL that begins with http"),
        (URL | SECRET | {"CHORUS_FORWARD_EVENTS": "OrderPlacd"}, "did you mean 'OrderPlaced'"),
        (URL | SECRET | {"CHORUS_FORWARD_SINCE": "2026-11-28T09:00:00"}, "timezone"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as refused:
        integration(environ)
    assert problem in str(refused.value)
    assert "a-password" not in str(refused.value)


def test_a_stream_that_was_restored_sends_nothing_again() -> None:
    """Its group folds it again, and knows by the versions what it has taken."""
    group = integration(URL | SECRET)
    assert group is not None
    row = ForwardRow(0, "o-1", "ordering/order-o-1@1", 1, "ordering", "OrderPlaced", "", {}, b"{}")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(SCHEMA)
        make_forwards(opened)
        make_tables(opened, group)
        transaction = SqliteViewTransaction(opened)
        transaction.advance(0, Known(9, "x", 1, "then"))
        transaction.save_versions({"ordering/order-o-1": 1})
        transaction.forwards.add([row])
        transaction.forget()
        assert transaction.known() == Known()
        assert transaction.versions(["ordering/order-o-1"]) == {"ordering/order-o-1": 1}
        assert [one.event_id for one in SqliteForwardRows(opened).waiting(0, 10)] == ["ordering/order-o-1@1"]


def test_the_number_of_a_delivered_event_is_never_that_of_a_later_one() -> None:
    row = ForwardRow(0, "o-1", "ordering/order-o-1@1", 1, "ordering", "OrderPlaced", "", {}, b"{}")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        make_forwards(opened)
        rows = SqliteForwardRows(opened)
        rows.add([row])
        rows.delete([1])
        rows.add([row])
        assert [one.n for one in rows.waiting(0, 10)] == [2]
