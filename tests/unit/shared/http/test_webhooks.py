"""A webhook is believed by its signature, and the secrets of senders stand in one setting."""

import json
import re

import pytest

from shared.config.secrets import Secret
from shared.config.settings import SettingsError
from shared.http.secrets import secrets_in
from shared.wire.messages import MSG_ID
from shared.wire.signature import REPLAY_WINDOW_S, sign
from tests.asgi import ask
from tests.unit.shared.http.door import CARRIER, FORMER, NOW, REPORT, SECRET, Stream, app, reported


class TestWebhooks:
    """`POST /webhooks/carrier` is believed by its signature, for five minutes, and has one effect."""

    @pytest.mark.parametrize(
        ("outcome", "command"),
        [("delivered", "ReportDelivered"), ("lost", "ReportLost"), ("returned", "ReportReturned")],
    )
    async def test_signed_report_is_stored_under_the_id_of_its_sender(self, outcome: str, command: str) -> None:
        stream = Stream()
        said = await reported(stream, body={**REPORT, "outcome": outcome})
        assert said.status == 202, said.body
        (stored,) = stream.stored
        assert stored.subject == f"cmd.shipping.{command}.o-42"
        assert re.fullmatch("carrier-e-1:[0-9a-f]{32}", stored.headers[MSG_ID])
        assert json.loads(stored.body) == {"order_id": "o-42", "tracking_no": "CH1"}

    async def test_another_report_under_the_same_id_is_stored_too(self) -> None:
        """The stream would drop it unread, and the carrier would take it for stored."""
        stream = Stream()
        assert (await reported(stream)).status == 202
        assert (await reported(stream, body={**REPORT, "order_id": "o-43"})).status == 202
        assert [one.subject.rpartition(".")[2] for one in stream.stored] == ["o-42", "o-43"]

    async def test_report_that_comes_twice_is_stored_once(self) -> None:
        stream = Stream()
        assert [(await reported(stream)).status for _ in range(2)] == [202, 200]

    async def test_former_secret_signs_while_it_is_exchanged(self) -> None:
        assert (await reported(Stream(), secret=FORMER)).status == 202

    @pytest.mark.parametrize("age_s", [REPLAY_WINDOW_S + 1, -REPLAY_WINDOW_S - 1])
    async def test_report_outside_the_window_is_refused(self, age_s: int) -> None:
        stream = Stream()
        assert (await reported(stream, at=NOW - age_s)).status == 401
        assert stream.stored == []

    async def test_report_at_the_edge_of_the_window_is_taken(self) -> None:
        assert (await reported(Stream(), at=NOW - REPLAY_WINDOW_S)).status == 202

    @pytest.mark.parametrize(
        "signature",
        [
            "",
            "t=1",
            f"t={NOW},v1={'0' * 64}",
            f"t={NOW},v1=" + "0" * 63,
            sign(SECRET, b"another body", NOW),
            sign(SECRET, json.dumps(REPORT).encode(), NOW).replace(str(NOW), str(NOW - 1)),
            "t=" + "9" * 400 + ",v1=" + "0" * 64,
        ],
    )
    async def test_report_with_another_signature_is_refused(self, signature: str) -> None:
        stream = Stream()
        said = await ask(app(stream), CARRIER, json.dumps(REPORT).encode(), {"Signature": signature})
        assert (said.status, said.content["errors"]) == (401, [{"path": "Signature"}])
        assert SECRET.encode() not in said.body
        assert stream.stored == []

    async def test_door_without_a_secret_believes_nobody(self) -> None:
        text = json.dumps(REPORT).encode()
        said = await ask(app(Stream(), secrets=()), CARRIER, text, {"Signature": sign("", text, NOW)})
        assert said.status == 503

    @pytest.mark.parametrize("changed", [{"order_id": "a b"}, {"id": "a b"}, {"outcome": "eaten"}, {"id": ""}])
    async def test_signed_report_that_means_nothing_is_refused(self, changed: dict[str, str]) -> None:
        assert (await reported(Stream(), body={**REPORT, **changed})).status == 400


class TestSecrets:
    """One setting holds them, and no message quotes them."""

    def test_sender_may_have_two(self) -> None:
        text = Secret(f"carrier={SECRET},carrier={FORMER}")
        assert secrets_in(text, ["carrier"]) == {"carrier": (SECRET, FORMER)}
        assert secrets_in(Secret(""), ["carrier"]) == {}

    @pytest.mark.parametrize("text", [f"courier={SECRET}", SECRET, "carrier=short", f"carrier{SECRET}"])
    def test_mistake_is_reported_without_the_secret(self, text: str) -> None:
        with pytest.raises(SettingsError) as raised:
            secrets_in(Secret(text), ["carrier"])
        assert SECRET not in str(raised.value)
        assert "short," not in str(raised.value)
