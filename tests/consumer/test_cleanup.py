"""Whatever has to be deleted, live commits continue meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from durable_state.consumer import cleanup
from durable_state.consumer.run import sync
from durable_state.consumer.threads import DatabaseThreads
from durable_state.models import FeedEntry, Generation, HeldRows, StagedChange, Stream
from tests.app.models import Message
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.consuming import is_live, wait_until
from .support.operating import run_while
from .support.remote import RemoteStream

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]

ROWS = 2_000


def leave_to_be_deleted(stream: Stream) -> None:
    """A dropped generation of many entities, and as many outdated entries."""
    using = stream.using
    dropped = Generation.objects.using(using).create(
        stream=stream, purpose=Generation.Purpose.DROPPED
    )
    StagedChange.objects.using(using).bulk_create(
        StagedChange(generation=dropped, entity=f"{n:064}", type="message", key=str(n), ordinal=n)
        for n in range(ROWS)
    )
    FeedEntry.objects.using(using).bulk_create(
        FeedEntry(stream=stream, revision=n - ROWS, created_at=timezone.now() - timedelta(hours=2))
        for n in range(ROWS)
    )


def left(using: str) -> int:
    """How many rows are still to be deleted."""
    entries = FeedEntry.objects.using(using).filter(revision__lt=0)
    return StagedChange.objects.using(using).count() + entries.count()


def test_live_commits_go_on_between_the_steps(
    file_or_server: str,
    reference_server: StreamServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each event is shown at once, while the rows to be deleted become fewer with each; in the
    end none is left.
    """
    for bound in ("FEWEST", "MOST"):
        monkeypatch.setattr(cleanup, bound, 100)
    remote = RemoteStream(reference_server.stream())
    stream = add_stream(remote.url, using=file_or_server)
    shown = Message.objects.using(file_or_server)

    def look(held: ExitStack) -> None:
        wait_until(lambda: is_live(stream), 30)
        seen = [left(file_or_server)]
        for number in range(30):
            began = time.monotonic()
            remote.append([insert("message", "a" if number % 2 else "A", {"text": "hi"})])
            ordinal = number + 1
            wait_until(lambda: reads(stream) == ordinal, 20)  # noqa: B023
            assert time.monotonic() - began < 2
            seen.append(left(file_or_server))
            if len(set(seen)) > 3:
                break
        assert seen[-1], seen
        assert len(set(seen)) > 3, seen
        assert shown.exists()
        wait_until(lambda: left(file_or_server) == 0, 20)

    leave_to_be_deleted(stream)
    run_while(file_or_server, look)


def reads(stream: Stream) -> int:
    """Up to which message the stream was read."""
    return Stream.objects.using(stream.using).get(pk=stream.pk).ordinal


def keep_until(condition: Callable[[], bool], steps: list[cleanup.Step]) -> None:
    """Deletes with these steps, as a seat does, until the condition is true."""

    async def work() -> None:
        async with DatabaseThreads(2) as threads:
            keeping = cleanup.Cleanup("default", threads)
            keeping._steps = steps
            keeping.ask()
            running = asyncio.create_task(keeping.run(each_minute=False))
            while not condition():
                assert not running.done()
                await asyncio.sleep(0.02)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(asyncio.run(work())))
    thread.start()
    thread.join(30)
    assert outcome == [None]


def test_most_of_the_time_is_left_to_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For three times as long as each step; and a step that takes long is followed by smaller
    ones.
    """
    spans: list[tuple[float, float]] = []
    sizes: list[int] = []

    def delete(using: str, rows: int) -> bool:
        sizes.append(rows)
        began = time.monotonic()
        time.sleep(0.05 if len(sizes) < 3 else 0.25)
        spans.append((began, time.monotonic()))
        return len(spans) < 4

    monkeypatch.setattr(cleanup, "STEP_SECONDS", 0.11)

    keep_until(lambda: len(spans) == 4, [cleanup.Step(delete)])
    for (began, ended), (following, _) in itertools.pairwise(spans):
        assert following - ended >= 2.9 * (ended - began)
    fewest = cleanup.FEWEST
    assert sizes == [fewest, fewest * 2, fewest * 4, fewest * 2]


def test_no_kind_starves_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is of one kind, each call also deletes some of the others."""
    taken = [0, 0]

    def delete(which: int, *_: object) -> bool:
        taken[which] += 1
        time.sleep(0.002)
        return True

    monkeypatch.setattr(
        cleanup, "_all_steps", lambda: [cleanup.Step(partial(delete, which)) for which in (0, 1)]
    )
    cleanup.tidy("default", 0.1)
    assert min(taken) > 5


def test_what_fails_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a receiver of the project's raises, the other kinds become fewer, and the log
    says why.
    """
    taken: list[int] = []

    def refuse(using: str, rows: int) -> bool:
        raise RuntimeError("not this one")

    def delete(using: str, rows: int) -> bool:
        taken.append(rows)
        return False

    keep_until(lambda: bool(taken), [cleanup.Step(refuse), cleanup.Step(delete)])
    assert "could not be deleted" in caplog.text
    assert "not this one" in caplog.text


def test_a_sync_deletes_what_is_old_where_nothing_else_runs(
    database: str, reference_server: StreamServer, add_stream: Add
) -> None:
    """Those of all streams, even quiet ones, whose own commits would never do it."""
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", "a", {"text": "hi"})])
    stream, quiet = add_stream(remote.url, using=database), add_stream(using=database)
    log, held = FeedEntry.objects.using(database), HeldRows.objects.using(database)
    past = timezone.now() - timedelta(days=1)
    log.create(stream=quiet, revision=1, created_at=past)
    log.create(stream=quiet, revision=2)
    for number, at in enumerate([past, timezone.now() + timedelta(days=1)]):
        held.create(stream=quiet, digest=str(number), keys=b"", expires_at=at)

    sync(stream, until_up_to_date=True)
    assert list(log.filter(stream=quiet).values_list("revision", flat=True)) == [2]
    assert list(held.values_list("digest", flat=True)) == ["1"]
