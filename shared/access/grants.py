"""The subjects behind one ability, such as reading a stream or answering as a service. Pure."""

from collections.abc import Iterable

from shared.wire.streams import COMMANDS, DEAD_LETTERS, EVENTS, TIMERS

API = "$JS.API"

ALL_STREAMS = (COMMANDS, EVENTS, TIMERS, DEAD_LETTERS)


def pull(stream: str, consumer: str) -> tuple[str, ...]:
    """To read a durable consumer that exists: pull, acknowledge, set back, hand over its pin."""
    return (
        *(f"{API}.CONSUMER.{verb}.{stream}.{consumer}" for verb in ("INFO", "MSG.NEXT", "RESET", "UNPIN")),
        f"$JS.ACK.{stream}.{consumer}.>",
    )


def read(stream: str) -> tuple[str, ...]:
    """To read a stream without a consumer."""
    return (f"{API}.STREAM.INFO.{stream}", f"{API}.DIRECT.GET.{stream}", f"{API}.DIRECT.GET.{stream}.>")


def look(streams: Iterable[str]) -> tuple[str, ...]:
    """To see how streams and their consumers are, without a message of theirs."""
    found = [f"{API}.INFO", f"{API}.STREAM.NAMES", f"{API}.STREAM.LIST"]
    for stream in streams:
        found += [f"{API}.STREAM.INFO.{stream}", f"{API}.CONSUMER.INFO.{stream}.*"]
        found += [f"{API}.CONSUMER.{verb}.{stream}" for verb in ("NAMES", "LIST")]
    return tuple(found)


def own_consumers(stream: str) -> tuple[str, ...]:
    """To make, read and delete consumers. The name is in each subject, so `foreign_consumers` excepts some of them.

    Without a name (`CONSUMER.CREATE.<stream>`) the body could name any consumer.
    """
    return (
        f"{API}.CONSUMER.CREATE.{stream}.>",
        *(f"{API}.CONSUMER.{verb}.{stream}.*" for verb in ("DELETE", "INFO", "MSG.NEXT")),
        f"$JS.ACK.{stream}.>",
        f"$JS.FC.{stream}.>",
    )


def foreign_consumers(stream: str, consumers: Iterable[str]) -> tuple[str, ...]:
    """The exceptions from `own_consumers`: no consumer of these names may be changed, deleted or read from."""
    return tuple(
        subject
        for name in consumers
        for subject in (
            f"{API}.CONSUMER.CREATE.{stream}.{name}",
            f"{API}.CONSUMER.CREATE.{stream}.{name}.>",
            f"{API}.CONSUMER.DELETE.{stream}.{name}",
            f"{API}.CONSUMER.MSG.NEXT.{stream}.{name}",
            f"$JS.ACK.{stream}.{name}.>",
        )
    )


def manage(stream: str) -> tuple[str, ...]:
    """Everything that is done to a stream and its consumers by hand."""
    verbs = ("CREATE", "UPDATE", "DELETE", "INFO", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE")
    return (
        *(f"{API}.STREAM.{verb}.{stream}" for verb in verbs),
        f"$JS.SNAPSHOT.ACK.{stream}.>",
        f"$JS.SNAPSHOT.RESTORE.{stream}.>",
        f"{API}.DIRECT.GET.{stream}",
        f"{API}.DIRECT.GET.{stream}.>",
        f"{API}.CONSUMER.CREATE.{stream}",
        f"{API}.CONSUMER.DURABLE.CREATE.{stream}.*",
        f"{API}.CONSUMER.NAMES.{stream}",
        f"{API}.CONSUMER.LIST.{stream}",
        *(f"{API}.CONSUMER.{verb}.{stream}.*" for verb in ("PAUSE", "RESET", "UNPIN")),
        *own_consumers(stream),
    )


def discovery(name: str) -> tuple[str, ...]:
    """To subscribe to the questions that every ADR-32 service answers."""
    verbs = ("PING", "INFO", "STATS")
    return tuple(f"$SRV.{verb}{of}" for verb in verbs for of in ("", f".{name}", f".{name}.*"))


def discover() -> tuple[str, ...]:
    """To ask all services who they are and how they do."""
    return tuple(f"$SRV.{verb}{of}" for verb in ("PING", "INFO", "STATS") for of in ("", ".>"))
