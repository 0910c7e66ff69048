"""Many rows in one statement.

Every statement gives up and takes back the interpreter lock once; a row at a time waits for it behind the event loop
(measured 4 times slower).
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

_json_encoder = msgspec.json.Encoder()
_ROWS_AT_ONCE = (128, 16, 1)


def json_text(value: Any) -> str:
    return _json_encoder.encode(value).decode()


def insert(connection: sqlite3.Connection, into: str, columns: int, rows: Sequence[Sequence[Any]]) -> None:
    row = f"({', '.join('?' * columns)})"
    done = 0
    for size in _ROWS_AT_ONCE:
        while len(rows) - done >= size:
            connection.execute(f"{into} {', '.join([row] * size)}", list(chain.from_iterable(rows[done : done + size])))
            done += size
