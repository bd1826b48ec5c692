"""Runs that meet everything: streams, their server, and a consumer that is restarted until it is
done.

There are several short ones, because each is run once for each of its points.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import django.db
import httpx
import pytest

from durable_state import operations
from durable_state.consumer import run, seat
from durable_state.consumer.run import sync
from durable_state.models import Lease, Replay, Status, Stream
from durable_state.transport import open_client
from tests.wire import END, RESET, START, change, commit_by, delete, encode, message

from .faults import Fault, Killed

__all__ = ["SCRIPTS", "Script", "run_script"]

HI, OTHER, LONGEST, TOO_LONG = "hi", "ünï😀", "x" * 20, "x" * 21


@dataclass(frozen=True)
class Script:
    """A stream, and what the consumer meets in it."""

    caught_up: list[Any]
    """The messages on the server when the consumer begins."""

    live: list[list[Any]] = field(default_factory=list)
    """The appends that follow, one after the other; then the stream is closed."""

    is_reset: bool = False
    """Whether the stream is reset in the end: replayed, and handed over."""

    authors: dict[str, int] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=dict)
    """The shown rows that wait for others, in the end: their authors."""

    waiting: int = 0
    """How many changes are parked in the end."""

    @property
    def items(self) -> list[Any]:
        """The whole stream."""
        return [*self.caught_up, *chain.from_iterable(self.live)]


SCRIPTS = {
    "changes": Script(
        [
            message("a", HI),
            message("A", OTHER),
            change("profile", "a", score=3.0),
            message("a", OTHER, "update"),
            delete("message", "A"),
            change("profile", "a", "update", name=HI),
        ]
    ),
    "refused": Script(
        [
            message("a", TOO_LONG),
            message("a", HI),
            message("A", TOO_LONG),
            5,
            change("score", "1", points=0),
            change("nobody-maps-this", "x", text="t"),
        ]
    ),
    "parked": Script(
        [
            commit_by("early", "ann"),
            change("author", "ann", commits=1),
            commit_by("orphan", "nobody"),
            change("author", "bob", commits=2),
            delete("author", "bob"),
        ],
        authors={"ann": 1},
        commits={"early": "ann"},
        waiting=1,
    ),
    "snapshot": Script(
        [
            message("a", HI),
            message("A", OTHER),
            START,
            message("a", LONGEST),
            message("ключ", TOO_LONG),
            change("author", "ann", commits=2),
            commit_by("early", "ann"),
            END,
            message("a ", HI),
        ],
        authors={"ann": 2},
        commits={"early": "ann"},
    ),
    "reset": Script(
        [message("a", HI), message("A", OTHER), RESET, message("a", LONGEST), message("ключ", HI)],
        [[message("ключ", OTHER, "update"), delete("message", "a")]],
    ),
    "live": Script(
        [message("a", HI)],
        [
            [message("A", HI)],
            [message("A", LONGEST, "update"), delete("message", "a")],
            [commit_by("live", "carl"), message("a ", TOO_LONG)],
            [change("author", "carl", commits=4)],
        ],
        authors={"carl": 4},
        commits={"live": "carl"},
    ),
    "replay": Script(
        [message("a", HI), message("a", OTHER, "update"), message("A", TOO_LONG)],
        is_reset=True,
    ),
}

CONSUMERS = 3
"""The most consumers, one after the other, that one fault may cost."""

PAGE = 3
"""Messages in one answer."""


class ScriptedServer:
    """The stream's server, whose answers come in pieces; offsets are message counts."""

    def __init__(self, script: Script, fault: Fault) -> None:
        self._fault = fault
        self._appends = list(script.live)
        self.items = list(script.caught_up)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """One GET: a page or, for a reader that waits at the tail, the next append."""
        self._fault.at_read(f"before the answer to {request.url}")
        asked = request.url.params
        offset = max(0, int(asked["offset"]))
        if "live" in asked and offset == len(self.items) and self._appends:
            self.items += self._appends.pop(0)

        page = self.items[offset : offset + PAGE]
        end = offset + len(page)
        headers = {"content-type": "application/json", "stream-next-offset": f"{end:05}"}
        if end == len(self.items):
            headers["stream-up-to-date"] = "true"
            if not self._appends:
                headers["stream-closed"] = "true"
        self._fault.at_read(f"behind the answer to {request.url}")
        return httpx.Response(200, headers=headers, content=self._pieces(page))

    async def _pieces(self, page: Sequence[Any]) -> AsyncIterator[bytes]:
        body = b"[%b]" % b",".join(map(encode, page))
        middle = len(body) // 2
        for piece in (body[:middle], body[middle:]):
            self._fault.at_read("before a piece of a body")
            yield piece
            self._fault.at_read("behind a piece of a body")


def run_script(script: Script, stream: Stream, fault: Fault, patch: pytest.MonkeyPatch) -> None:
    """Consumes the stream to its end and, if the script has a reset, once more from its start.

    A consumer that dies is replaced by another.
    """
    server = ScriptedServer(script, fault)
    transport = httpx.MockTransport(server.answer)
    patch.setattr(seat, "open_client", lambda: open_client(transport=transport))
    patch.setattr(run, "stop_signals", fault.stopping)
    with fault.watching(stream.using):
        _consume(stream, fault)
        assert server.items == script.items
        if script.is_reset:
            operations.reset(stream, actor="test")
            _consume(stream, fault)
    assert not Replay.objects.using(stream.using).filter(stream=stream).exists()
    assert stream.status == Status.CLOSED


def _consume(stream: Stream, fault: Fault) -> None:
    for _ in range(CONSUMERS):
        try:
            sync(stream)
            # If it never learnt that its hand-over was committed, the next one continues.
            if not fault.is_dead and stream.status == Status.CLOSED:
                return
        except (Killed, django.db.Error):  # the first statements too, before there is a lease
            pass
        fault.revive()
        # Dead for so long that its lease has expired.
        Lease.objects.using(stream.using).update(seat=None)
    raise AssertionError(f"not at its end after {CONSUMERS} consumers")
