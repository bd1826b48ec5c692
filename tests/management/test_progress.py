"""The progress line, and text tables."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from durable_state.management.progress_line import ProgressLine
from durable_state.management.table import one_line, table
from durable_state.models import Replay, Stream
from durable_state.operations.wording import capitalised, span


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


def ticks(*seconds: float) -> Iterator[float]:
    """A clock that returns these times."""
    return iter(seconds)


def at(ordinal: int) -> Stream:
    """A stream after so many messages."""
    return Stream(name="chat", ordinal=ordinal, applied_count=ordinal, status="catching-up")


def test_a_terminal_has_one_line_that_is_written_over() -> None:
    """With the rate, and without remains of the line before."""
    out, clock = Terminal(), ticks(0, 0.1, 1.0)
    progress = ProgressLine(out, clock=lambda: next(clock))
    for ordinal in (0, 500, 12000):
        progress(at(ordinal))
    progress.close()
    shown = out.getvalue()
    assert shown.count("\r") == 4
    assert "\n" not in shown
    assert "chat: 12,000 messages · 12,000 applied · catching-up · 12,000 messages/s" in shown
    assert "500 messages" not in shown  # too soon after the first


def test_a_log_file_has_a_plain_line_now_and_then() -> None:
    """No carriage returns, and at most one line each five seconds."""
    out, clock = io.StringIO(), ticks(0, 1, 2, 5.5)
    progress = ProgressLine(out, clock=lambda: next(clock))
    for ordinal in (0, 10, 20, 1100):
        progress(at(ordinal))
    progress.close()
    assert out.getvalue().splitlines() == [
        "chat: 0 messages · 0 applied · catching-up",
        "chat: 1,100 messages · 1,100 applied · catching-up · 200 messages/s",
    ]


def test_what_has_an_end_says_how_far_it_is_and_how_long_it_takes() -> None:
    """A replay ends where its stream is, a switch with its rows; the end itself is always shown."""
    out, clock = Terminal(), ticks(0, 1, 2, 3, 3.1, 4)
    progress = ProgressLine(out, clock=lambda: next(clock))
    stream = at(150_000)
    for ordinal in (0, 30_000, 43_000):
        progress(Replay(stream=stream, ordinal=ordinal))
    shown = out.getvalue()
    assert "the replay of chat: 43,000 of 150,000 messages (28 %) · shown at its end" in shown
    assert "21,500 messages/s · 5 s left" in shown
    progress.switching(stream, 10, 20)
    progress.switching(stream, 20, 20)
    assert out.getvalue().rstrip().endswith("showing chat: 20 of 20 rows (100 %) · 100 rows/s")
    progress.show("comparing chat", "row", 0, 0)
    assert "comparing chat: 0 rows" in out.getvalue()


def test_a_log_file_says_that_the_end_was_reached() -> None:
    """Once, however soon that is after the line before."""
    out, clock = io.StringIO(), ticks(0, 1, 2, 3, 4, 9)
    progress = ProgressLine(out, clock=lambda: next(clock))
    for done in (2, 6, 10, 10, 10, 10):
        progress.show("comparing chat", "row", done, 10)
    shown = [line.partition(" · ")[0] for line in out.getvalue().splitlines()]
    assert shown == [
        "comparing chat: 2 of 10 rows (20 %)",
        "comparing chat: 10 of 10 rows (100 %)",
        "comparing chat: 10 of 10 rows (100 %)",
    ]


def test_a_note_stays() -> None:
    """Such as the holder that the sync waits for."""
    out, clock = Terminal(), ticks(0)
    progress = ProgressLine(out, clock=lambda: next(clock))
    progress(at(1))
    progress.note("chat is held by host:1:run:abc; waiting")
    assert out.getvalue().endswith("\rchat is held by host:1:run:abc; waiting\n")


def test_tables_align_and_show_nothing_that_a_terminal_obeys() -> None:
    """Numbers to the right, escapes as text, long texts cut."""
    assert table(("A", "N"), [("x", 1), ("long", 1000)], right=(1,)) == [
        "A        N",
        "x        1",
        "long  1000",
    ]
    assert one_line("a\x1b[2Jb\nc\ud800") == "a\\x1b[2Jb\\nc\\ud800"
    assert one_line("abcdef", 4) == "abc…"
    assert [span(each) for each in (0, 0.25, 59, 600, 7200, 200000)] == [
        "0 s",
        "0.2 s",
        "59 s",
        "10 min",
        "2 h",
        "2 d",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("needs a reset: task", "Needs a reset: task"),
        ("http://localhost/s answered 404.", "http://localhost/s answered 404."),
        ("prepare() returned int.", "prepare() returned int."),
        ("", ""),
    ],
)
def test_what_begins_a_sentence_gets_a_capital(text: str, shown: str) -> None:
    """But for what is written as it is: a URL with a capital is another one."""
    assert capitalised(text) == shown
