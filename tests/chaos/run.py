"""A finished run of a shop as files and messages, which a test may copy and spoil."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from shared.adapters.sqlite.reading import open_read_only
from shared.config.settings import Settings
from shared.ports.broker import Stored
from shared.wire.messages import MSG_ID
from shared.wire.streams import EVENTS
from tests.chaos.evidence import Evidence, Streams, assemble


class Run:
    """A shop at rest: the messages of its streams, and copies of its databases."""

    def __init__(self, settings: Settings, streams: Streams, databases: Mapping[str, Path]) -> None:
        self.settings = settings
        self.streams = streams
        self.databases = databases

    def copied(self, directory: Path) -> "Run":
        """A copy, for a test to spoil."""
        copies = {name: directory / path.name for name, path in self.databases.items()}
        for path in self.databases.values():
            # A read side has no database of its own name, and one for each of its groups.
            for file in [path] if path.exists() else path.parent.glob(f"{path.stem}-*.db"):
                copy = directory / file.name
                copy.touch(mode=0o600)
                with closing(open_read_only(file)) as source, closing(sqlite3.connect(copy)) as target:
                    source.backup(target)
        messages = {stream: list(stored) for stream, stored in self.streams.messages.items()}
        return Run(self.settings, Streams(self.streams.born, messages), copies)

    def change(self, context: str, statement: str, *parameters: object) -> None:
        """Change a database in a way that changes something."""
        with closing(sqlite3.connect(self.databases[context], isolation_level=None)) as database:
            assert database.execute(statement, parameters).rowcount > 0, statement

    def at(self, stream: str, message_id: str) -> int:
        """Where in a stream a message is."""
        return [stored.headers.get(MSG_ID) for stored in self.streams.messages[stream]].index(message_id)

    def find(self, key: str, event: str) -> int:
        """Where in EVENTS an event of a type is."""
        (found,) = (
            index
            for index, stored in enumerate(self.streams.messages[EVENTS])
            if stored.subject.split(".")[2] == event and stored.subject.split(".")[4] == key
        )
        return found

    def events(self) -> list[Stored]:
        """EVENTS, which may be changed."""
        events = self.streams.messages[EVENTS]
        assert isinstance(events, list)
        return events

    def append(self, stored: Stored, **headers: str) -> None:
        """Put a message at the end of EVENTS, with some headers otherwise."""
        events = self.events()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        events.append(stored._replace(sequence=events[-1].sequence + 1, headers={**stored.headers, **given}))

    def evidence(self) -> Evidence:
        """The evidence that the checker sees."""
        return assemble(self.settings, self.databases, self.streams)
