"""The declared streams and consumers at work on a real server: its filters, transforms, pins and bounds."""

from collections.abc import AsyncIterator

import nats
import pytest
import pytest_asyncio
from msgspec.structs import replace
from nats.js.errors import NoStreamResponseError

from shared.derived.topology import declare
from shared.wire.messages import parse_subject, partition_of
from tests.integration.street import DECLARED, STREET, TOPOLOGY, Broker, connected, declared_with, pulled


@pytest_asyncio.fixture
async def broker(account_url: str) -> AsyncIterator[Broker]:
    async with connected(account_url) as broker:
        yield broker


async def test_a_context_reads_only_what_it_reacts_to(broker: Broker) -> None:
    await broker.apply(DECLARED)

    async def filters(stream: str) -> dict[str, list[str]]:
        found = (await broker.api(f"CONSUMER.LIST.{stream}"))["consumers"]
        return {one["name"]: one["config"]["filter_subjects"] for one in found if one["name"].endswith("-3")}

    assert await filters("COMMANDS") == {"street-3": ["cmd.street.*.3.*"]}
    assert await filters("EVENTS") == {"town-3": ["evt.street.KioskClosed.3.*", "evt.street.KioskOpened.3.*"]}
    assert await filters("TIMERS") == {"street-3": ["due.street.*.3.*"], "town-3": ["due.town.*.3.*"]}


async def test_a_consumer_is_pinned_and_says_whose_it_is(broker: Broker) -> None:
    await broker.apply(DECLARED)
    events = (await broker.api("CONSUMER.INFO.EVENTS.town-0"))["config"]
    commands = (await broker.api("CONSUMER.INFO.COMMANDS.street-0"))["config"]
    assert (events["ack_policy"], commands["ack_policy"]) == ("none", "explicit")
    assert commands["ack_wait"] == 600 * 10**9
    for config in (events, commands):
        assert (config["priority_policy"], config["priority_groups"]) == ("pinned_client", ["w"])
        assert config["priority_timeout"] == 10**9
        assert config["metadata"]["owner"] == "chorus"
        assert config["metadata"]["chorus.partitions"] == "4"
    assert events["metadata"]["context"] == "town"


async def test_a_misspelled_command_is_refused_at_the_door(broker: Broker) -> None:
    await broker.apply(DECLARED)
    await broker.publish("cmd.street.OpenKiosk.s-1")
    for wrong in ("cmd.street.OpenKioskp.s-1", "cmd.stret.OpenKiosk.s-1", "evt.stret.KioskOpened.s-1"):
        with pytest.raises(NoStreamResponseError):
            await broker.publish(wrong)


async def test_nobody_chooses_a_partition(broker: Broker) -> None:
    await broker.apply(DECLARED)
    for forged in ("cmd.street.OpenKiosk.0.s-1", "evt.street.KioskOpened.0.s-1", "due.street.Closing.0.s-1"):
        with pytest.raises(NoStreamResponseError):
            await broker.publish(forged)


async def test_the_server_and_the_code_agree_about_every_keys_partition(broker: Broker) -> None:
    await broker.apply(DECLARED)
    keys = {f"key_{n}-{'x' * (n % 50)}" for n in range(200)}
    for key in keys:
        await broker.publish(f"evt.street.KioskOpened.{key}")
    await broker.publish("cmd.street.OpenKiosk.s-1")
    await broker.publish("due.street.Closing.s-1")
    stored = [
        parse_subject(subject)
        for stream in ("COMMANDS", "EVENTS", "TIMERS")
        for subject in await broker.subjects(stream)
    ]
    assert {subject.key for subject in stored} == keys | {"s-1"}
    assert [subject for subject in stored if subject.partition != partition_of(subject.key, TOPOLOGY.partitions)] == []


async def test_a_flood_is_refused_and_pushes_nothing_out(broker: Broker) -> None:
    await broker.apply(declared_with("COMMANDS", max_msgs=2))
    await broker.publish("cmd.street.OpenKiosk.s-1")
    await broker.publish("cmd.street.OpenKiosk.s-2")
    with pytest.raises(nats.js.errors.APIError) as refused:
        await broker.publish("cmd.street.OpenKiosk.s-3")
    assert refused.value.err_code == 10077
    assert len(await broker.subjects("COMMANDS")) == 2


async def test_a_consumer_of_answered_commands_can_be_reset_to_the_beginning(broker: Broker) -> None:
    await broker.apply(declare(replace(TOPOLOGY, partitions=1), (STREET,)))
    for number in range(4):
        await broker.publish(f"cmd.street.OpenKiosk.s-{number}")
        await broker.publish(f"due.street.Closing.s-{number}")

    for stream, after_reset in (("COMMANDS", [3, 4]), ("TIMERS", [1, 2, 3, 4])):
        taken, replies = await pulled(broker, stream)
        assert taken == [1, 2, 3, 4]
        for reply in replies[:2]:
            await broker.request(reply, b"+ACK")
        await broker.api(f"CONSUMER.RESET.{stream}.street-0", {"seq": 1})
        assert (await pulled(broker, stream))[0] == after_reset
