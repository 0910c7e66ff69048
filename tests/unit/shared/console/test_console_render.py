"""Terminal lines, bodies and durations become HTML without losing a word, and nothing of them is taken for HTML."""

import pytest
from rich.text import Text

from shared.console.render import identifier, marked, pretty, render, seconds


def test_marks_of_a_terminal_are_classes() -> None:
    text = Text("command ", style="").append("o-1", style="bold").append(" parked", style="red")
    assert marked(text) == 'command <span class="bold">o-1</span><span class="red"> parked</span>'


def test_marks_that_overlap_keep_every_word_once() -> None:
    text = Text("abcdef")
    text.stylize("dim", 0, 4)
    text.stylize("red", 2, 6)
    assert marked(text) == '<span class="dim">ab</span><span class="dim red">cd</span><span class="red">ef</span>'


def test_text_is_escaped_also_when_its_style_is_hostile() -> None:
    assert marked(Text().append("<b>&", style="red")) == '<span class="red">&lt;b&gt;&amp;</span>'
    assert marked(Text().append("x", style="link'><script>")) == "x"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"a":1}', '{\n  "a": 1\n}'),
        (b"", ""),
        (b"no json", "no json"),
        (b"\xff\x00", "\\xff\x00"),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_body_is_indented_or_shown_as_it_is(body: bytes, shown: str) -> None:
    assert pretty(body) == shown


def test_template_escapes_its_values() -> None:
    said = render("problem.html", {"text": "<script>", "remedy": '"><b>'})
    assert "<script>" not in said
    assert "<b>" not in said


def test_measurement_is_said_as_in_a_terminal_and_nothing_for_none() -> None:
    assert [seconds(0.0389), seconds(1.2), seconds(None)] == ["38.9 ms", "1.20 s", ""]


def test_identifier_has_no_character_that_a_page_could_misread() -> None:
    assert identifier('a/b.c"<') == "a-b-c--"
