"""However an answer is made, memory stays bounded and the other streams of the process go on.

Each is read in a process of its own (:mod:`tests.transport.support.bounded`). The bounds are
generous: what is tried would take several times as much memory, or one turn of the event loop for
all of it.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEGABYTE = 1024 * 1024
SPACES = ["spaces", "spaces-before", "spaces-behind"]
TOO_LARGE = ["spaces-in-an-item", "text-zipped", "text"]
UNCONFIRMED = ["event-line", "event-name", "event-lines", "event-empty"]


def read_apart(case: str) -> dict:
    """Reads the case in another process, and checks what must hold for each."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.transport.support.bounded", case],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    found: dict = json.loads(process.stdout)
    assert found["grown"] < 90 * MEGABYTE
    assert found["stalled"] < 3
    return found


@pytest.mark.parametrize(
    ("case", "count"), [*[(case, 1) for case in SPACES], ("spaces-deflated", 2)]
)
def test_white_space_is_passed_over(case: str, count: int) -> None:
    """120 MB of it, before, between and after the items, from a few KB: the items count."""
    found = read_apart(case)
    assert (found["error"], found["read"]) == ("", count)


@pytest.mark.parametrize("case", TOO_LARGE)
def test_a_message_beyond_the_limit_halts(case: str) -> None:
    """An endless one is not read to its end; the messages before it are returned."""
    found = read_apart(case)
    assert found["error"].startswith("AnswerRefused: ")
    assert "message number 2 is larger than MESSAGE_BYTES = 33554432." in found["error"]
    assert found["read"] == 1


def test_two_codings_are_refused() -> None:
    """The body is not read at all."""
    found = read_apart("zipped-twice")
    assert found["error"].startswith("AnswerRefused: ")
    assert "content coding gzip, gzip." in found["error"]


def test_a_refusal_is_read_to_its_first_bytes() -> None:
    """The server's words, not the 120 MB of spaces after them."""
    assert "answered 500 (no)." in read_apart("refusal")["error"]


@pytest.mark.parametrize("case", ["small-items", "event-small-items"])
def test_many_items_in_few_bytes_let_others_have_their_turn(case: str) -> None:
    """By GET, and all of them in one event."""
    found = read_apart(case)
    assert (found["error"], found["read"]) == ("", 200_001)


@pytest.mark.parametrize("case", UNCONFIRMED)
def test_events_that_do_not_end_are_left(case: str) -> None:
    """A long line, long data, or too many of them: a GET is sent, and its answer has the
    messages.
    """
    found = read_apart(case)
    assert found["asked"] == [None, "sse", None]
    assert "no control event confirms" in found["error"]


def test_comments_are_passed_over() -> None:
    """Long ones, and many of them, before the control event."""
    found = read_apart("event-comments")
    assert (found["error"], found["asked"]) == ("", [None, "sse", None])
