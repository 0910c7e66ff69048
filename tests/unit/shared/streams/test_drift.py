from datetime import timedelta
from typing import Any

import pytest

from shared.derived.topology import Declared
from shared.streams.drift import StreamContent, consumer_change, describe, stream_change

FOUND = {"name": "EVENTS", "subjects": ["evt.a.*.*"], "retention": "limits", "metadata": {"_nats.ver": "2.15.1"}}
FULL = StreamContent(messages=10, size=1000, age=timedelta(hours=1), waiting={"evt.b.*.*": 3, "evt.c.*.*": 0})
EMPTY = StreamContent(messages=0, size=0, age=timedelta(0), waiting={})


def stream(**keys: Any) -> Declared:
    return Declared(kind="stream", stream="EVENTS", name="EVENTS", config=keys)


def test_what_the_server_leaves_out_is_false_zero_or_empty() -> None:
    assert stream_change(stream(allow_atomic=False, max_age=0, description="", sources=[]), FOUND, EMPTY) is None


def test_what_is_not_declared_and_what_the_server_notes_are_no_difference() -> None:
    assert stream_change(stream(retention="limits", metadata={}), {**FOUND, "max_msgs": 7}, EMPTY) is None


def test_an_update_keeps_what_is_not_declared() -> None:
    change = stream_change(stream(max_age=5, metadata={"owner": "us"}), {**FOUND, "max_msgs": 7}, EMPTY)
    assert change is not None
    assert (change.action, change.destroys) == ("update", None)
    assert change.config == {**FOUND, "max_msgs": 7, "max_age": 5, "metadata": {"_nats.ver": "2.15.1", "owner": "us"}}


@pytest.mark.parametrize(
    ("keys", "lost"),
    [
        ({"max_msgs": 9}, "the oldest 1 of 10 stored messages"),
        ({"max_bytes": 999}, "the oldest messages: 1000 bytes are stored"),
        ({"max_age": 60 * 10**9}, "messages older than 1m"),
        ({"max_msgs_per_subject": 1}, "all but the last 1 messages of each subject"),
        (
            {"subjects": ["evt.a.*.*", "evt.d.*.*"]},
            "the route of 3 stored messages: no context accepts evt.b.*.* any more",
        ),
        (
            {"subject_transform": {"src": "evt.*.*.*", "dest": "x"}},
            "the order per key: stored messages keep their partition, and new ones go to another",
        ),
        ({"storage": "memory"}, "all 10 stored messages: the server makes this change only to a new stream"),
        ({"max_msgs": 10}, None),
        ({"max_bytes": 1000}, None),
        ({"max_age": 3600 * 10**9}, None),
        ({"max_msg_size": 1}, None),
    ],
)
def test_a_change_says_what_it_would_destroy(keys: dict[str, Any], lost: str | None) -> None:
    found = {**FOUND, "subjects": ["evt.a.*.*", "evt.b.*.*", "evt.c.*.*"], "storage": "file"}
    full = stream_change(stream(**keys), found, FULL)
    empty = stream_change(stream(**keys), found, EMPTY)
    assert full is not None
    assert empty is not None
    assert full.destroys == lost
    assert empty.destroys is None


@pytest.mark.parametrize("key", ["deny_delete", "deny_purge", "allow_msg_schedules", "allow_msg_ttl"])
def test_what_the_server_never_takes_back_needs_a_new_stream(key: str) -> None:
    back = stream_change(stream(**{key: False}), {**FOUND, key: True}, FULL)
    forth = stream_change(stream(**{key: True}), FOUND, FULL)
    assert back is not None
    assert forth is not None
    assert (back.action, forth.action) == ("replace", "update")


def test_a_consumer_is_replaced_only_where_the_server_cannot_update_it() -> None:
    def change(**keys: Any) -> str:
        declared = Declared(kind="consumer", stream="EVENTS", name="a-0", config=keys)
        found = consumer_change(declared, {"ack_policy": "none", "max_waiting": 512})
        assert found is not None
        assert found.destroys is None
        return found.action

    assert change(ack_policy="explicit") == "replace"
    assert change(max_waiting=64) == "replace"
    assert change(priority_timeout=10**9) == "update"


def test_a_change_reads_in_human_units() -> None:
    change = stream_change(
        stream(max_age=7 * 86400 * 10**9, max_msg_size=65536, max_bytes=500, allow_atomic=True),
        {**FOUND, "max_bytes": -1},
        FULL,
    )
    assert change is not None
    assert describe(change) == (
        "update stream EVENTS",
        "    max_age: unlimited -> 7d",
        "    max_msg_size: unlimited -> 64KiB",
        "    max_bytes: unlimited -> 500B",
        "    allow_atomic: false -> true",
        "    destroys the oldest messages: 1000 bytes are stored",
    )
