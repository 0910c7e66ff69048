"""Hostile input: values, keys and bytes that no client should send, and good messages that were damaged."""

import json
from typing import Any

from hypothesis import strategies as st

KEYS = (
    "",
    "*",
    ">",
    "a.b",
    "a b",
    "a\tb",
    "a\r\nb",
    "a\x00b",
    "caf\u00e9",
    "\u0661",
    "\U0001f4a9",
    "k" * 65,
    "a/b",
    "\\xff",
)

HOSTILE = (
    b"null", b"true", b"-1", b"1.5", b"1e400", b"NaN", b"-Infinity", b"9" * 5_000, b'""', b'"x"', b'"\\ud800"',
    b'"\xff"', b'"a\\r\\nb"', b'"\\u0000"', b"[]", b"{}", b"[" * 3_000, b'{"a":' * 3_000, b'"' + b"x" * 70_000 + b'"',
    b"{", b"}", b",", b":", b'"', b"\x00", b"\xef\xbb\xbf", b'{"a":1,"a":2}',
    b'"9999-12-31T23:59:59Z"', b'"0001-01-01T00:00:00+23:59"',
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, valid: list[dict[str, Any]]) -> bytes:
    """Random bytes, or a valid message with up to three things done to it."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    said = json.loads(json.dumps(draw(st.sampled_from(valid))))
    for _ in range(draw(st.integers(0, 2))):
        _replace(draw, said)
    body = json.dumps(said).encode()
    for number, token in enumerate(HOSTILE):
        body = body.replace(b'"hostile %d"' % number, token)
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.sampled_from(HOSTILE)) + body[at + draw(st.integers(0, 20)) :]
    return body


def _replace(draw: st.DrawFn, said: Any) -> None:
    """Put something hostile somewhere into the message."""
    while True:
        if not said or not isinstance(said, dict | list):
            return
        place = draw(st.sampled_from(sorted(said) if isinstance(said, dict) else range(len(said))))
        if isinstance(said[place], dict | list) and said[place] and draw(st.booleans()):
            said = said[place]
            continue
        said[place] = f"hostile {draw(st.integers(0, len(HOSTILE) - 1))}"
        if isinstance(said, dict) and draw(st.integers(0, 4)) == 0:
            said[draw(st.sampled_from(["tip", "x" * 70_000, "asked_at", "\r\n"]))] = said.pop(place)
        return


YAML = (
    b"*a", b"&a ", b"!!python/object:os.system ", b"!!binary ", b"? ", b"- ", b"\t", b"\n", b": ", b'"', b"'", b"{",
    b"[", b"]", b"---\n", b"%YAML 9.9\n", b"<<: *a", b"null", b"~", b"yes", b"0x10", b"1e9", b"9" * 5_000, b"[" * 2_000,
    b"\xff", b'"\\UFFFFFFFF"', b'"\\ud800"', b"\x00", b"12:30", b"2026-11-21", b"|\n", b"partitions: 4\n",
)  # fmt: skip
VALUES = (
    "0", "-1", "9" * 5_000, "1e400", "nan", "null", "true", "1d1d", "99999999999d", "15 m", "nats://[", "nats://a:b@[::1",
    "nats://u:p@h:port", "smtp://u:p@h:99999", "a,b,,c", "/", "~", "..", "\udcff", "after-take:x",
    "\n", "x" * 5_000,
)  # fmt: skip
