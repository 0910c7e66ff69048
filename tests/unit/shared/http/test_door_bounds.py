"""No client keeps the door from others: its rate and its idle connections are bounded."""

import asyncio
from functools import partial

import anyio
import pytest

from shared.http.rate import CLIENTS_AT_MOST, Rate
from shared.http.serving import serve
from tests.asgi import ask
from tests.unit.shared.http.door import BODY, ORDERS, Stream, app
from tests.waiting import WITHIN_S


class TestRate:
    """A client may send a burst, then so many a second; others do not notice."""

    async def test_client_beyond_its_rate_is_told_when_to_come_again(self) -> None:
        limited = app(Stream(), per_s=1.0)
        answers = [await ask(limited, ORDERS, BODY, {"Idempotency-Key": f"k-{n}"}) for n in range(4)]
        assert [said.status for said in answers][:2] == [202, 202]
        assert answers[-1].status == 429
        assert answers[-1].headers["retry-after"] == "1"
        assert (await ask(limited, ORDERS, BODY, {"Idempotency-Key": "other"}, client="192.0.2.2")).status == 202

    def test_tokens_come_back_with_time(self) -> None:
        now = [0.0]
        rate = Rate(2.0, lambda: now[0])
        assert [rate.wait_s("a") for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]
        now[0] = 0.5
        assert rate.wait_s("a") == 0.0

    def test_clients_are_forgotten_beyond_a_bound(self) -> None:
        rate = Rate(0.5, lambda: 0.0)
        for number in range(CLIENTS_AT_MOST + 50):
            rate.wait_s(str(number))
        assert len(rate._buckets) == CLIENTS_AT_MOST


class TestServing:
    """A client that sends nothing keeps no place from others."""

    @pytest.mark.parametrize(
        "begun", [b"", b"POST /orders HTTP/1.1\r\nHost: x\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET"]
    )
    async def test_connection_without_the_headers_of_a_request_is_closed(self, begun: bytes) -> None:
        url: asyncio.Future[str] = asyncio.Future()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serve, headers_within_s=0.02), app(Stream()), "127.0.0.1", 0, url.set_result)
            reader, writer = await asyncio.open_connection("127.0.0.1", int((await url).rpartition(":")[2]))
            writer.write(begun)
            with anyio.fail_after(WITHIN_S):
                answered = await reader.read()
            assert answered.startswith(b"HTTP/1.1 200") == begun.startswith(b"GET")
            writer.close()
            tasks.cancel_scope.cancel()
