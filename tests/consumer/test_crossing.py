"""Parents from another stream: its commit marks them, and the child's own consumer shows what
waited for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, OperationalError, connections
from django.test.utils import CaptureQueriesContext

from durable_state import operations
from durable_state.consumer import release, runnable
from durable_state.consumer.run import sync
from durable_state.consumer.watcher import Watcher
from durable_state.errors import OperationRefused, TooManyDeadLetters
from durable_state.materializer import changes
from durable_state.models import (
    Arrival,
    AwaitedModel,
    DeadLetter,
    FeedEntry,
    ParkedChange,
    Progress,
    Status,
    Stream,
)
from tests import leases
from tests.app.models import Author, Commit, Ticket
from tests.servers.process import StreamServer
from tests.tables import apply_batch
from tests.wire import change, commit_by

from .support.consuming import consuming, wait_until
from .support.remote import RemoteStream

Add = Callable[..., Stream]


def stream(name: str, using: str) -> Stream:
    return Stream.objects.using(using).get_or_create(
        name=name, defaults={"url": f"http://tests.invalid/{name}"}
    )[0]


def shown(using: str) -> list[str]:
    return sorted(Commit.objects.using(using).values_list("key", flat=True))


def test_the_parents_commit_marks_and_the_childs_takes_up(database: str) -> None:
    """Neither stream writes the other's rows; the child's feed reports its row."""
    one, two = stream("one", database), stream("two", database)
    apply_batch(one, [change("author", "x")], True)
    apply_batch(two, [commit_by("c", "a"), commit_by("d", "b")], True)
    apply_batch(one, [change("author", "a")], True)
    assert shown(database) == []
    assert Arrival.objects.using(database).get().stream == two
    done = release(two, None)
    assert done is not None
    assert done.revision == 2 == two.revision
    assert shown(database) == ["c"]
    entry = FeedEntry.objects.using(database).get(stream=two, revision=2)
    assert b'"c"' in bytes(entry.changes)
    assert not Arrival.objects.using(database).exists()
    assert release(two, None) is None, "nothing has happened since"
    two.refresh_from_db()
    assert two.revision == 2


def test_a_stream_without_an_owner_yet(database: str) -> None:
    """The children may come before the parents' stream has any row."""
    two = stream("two", database)
    apply_batch(two, [commit_by("c", "a")], True)
    apply_batch(stream("one", database), [change("author", "a")], True)
    assert release(two, None) is not None
    assert shown(database) == ["c"]


@pytest.mark.django_db(transaction=True)
def test_what_is_taken_up_counts_for_the_letter_limit(settings: Any) -> None:
    """If the database refuses more of it, nothing of it is committed."""
    settings.DURABLE_STATE = {"DEAD_LETTER_LIMIT": 1}
    two = stream("two", "default")
    apply_batch(two, [commit_by("c", "a"), commit_by("d", "a")], True)
    apply_batch(stream("one", "default"), [change("author", "a")], True)
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON app_commit"
            " BEGIN SELECT RAISE(ABORT, 'not today'); END"
        )
        try:
            with pytest.raises(TooManyDeadLetters):
                release(two, None)
        finally:
            cursor.execute("DROP TRIGGER refuse")
    assert not DeadLetter.objects.exists()
    assert release(two, None) is not None
    assert shown("default") == ["c", "d"]


def test_many_parents_at_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the number that a commit lists, everybody who waits for the model looks again."""
    monkeypatch.setattr(changes, "LISTED", 5)
    two = stream("two", database)
    apply_batch(two, [commit_by(f"c{n}", f"a{n}") for n in range(10)], True)
    apply_batch(stream("one", database), [change("author", f"a{n}") for n in range(9)], True)
    assert release(two, None) is not None
    assert len(shown(database)) == 9
    assert ParkedChange.objects.using(database).get().key == "c9"


def test_no_stream_pays_that_nobody_waits_for(database: str) -> None:
    """A stream whose parents and children are its own takes no lock and leaves no mark."""
    ring = stream("ring", database)
    apply_batch(ring, [change("team", "t"), change("player", "p", team="t")], True)
    with CaptureQueriesContext(connections[database]) as queries:
        apply_batch(ring, [change("team", "u"), change("player", "q", team="u")], True)
    assert not [
        query for query in queries if "awaitedmodel" in query["sql"] or "arrival" in query["sql"]
    ]


class Halted:
    """Runs a call in a thread up to one of its statements, and continues when told.

    ``count`` is the number of its statements.
    """

    def __init__(self, using: str, at: int, call: Callable[[], Any]) -> None:
        self.reached, self.resumed, self.count = threading.Event(), threading.Event(), 0
        self.error: Exception | None = None
        self._using, self._at, self._call = using, at, call
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with connections[self._using].execute_wrapper(self._wrap):
                self._call()
        except Exception as error:
            self.error = error
        finally:
            self.reached.set()
            connections.close_all()

    def _wrap(self, execute: Any, *args: Any) -> Any:
        if self.count == self._at:
            self.reached.set()
            assert self.resumed.wait(20)
        self.count += 1
        return execute(*args)

    def finish(self) -> None:
        self.resumed.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("met", [True, False])
@pytest.mark.parametrize("halted", ["parent", "child"])
def test_no_interleaving_loses_a_wake_up(server_database: str, halted: str, met: bool) -> None:
    """One commit is stopped before each of its statements in turn, while the other runs as far as
    it can; the child is shown in the end.

    Also if the two streams never met before, so that there is no row to lock yet.
    """
    using = server_database
    apply_batch(stream("one", using), [change("author", "first")], True)
    apply_batch(stream("two", using), [commit_by("first", "first")], True)
    at = waited = 0
    more = True
    while more:
        if not met:
            AwaitedModel.objects.using(using).all().delete()
        parent = partial(apply_batch, stream("one", using), [change("author", f"a{at}")], True)
        child = partial(apply_batch, stream("two", using), [commit_by(f"c{at}", f"a{at}")], True)
        first = Halted(using, at, parent if halted == "parent" else child)
        assert first.reached.wait(20)
        second = Halted(using, -1, child if halted == "parent" else parent)
        second.thread.join(0.25)  # it may have to wait until the first one ends
        waited += second.thread.is_alive()
        first.finish()
        second.finish()
        release(stream("two", using), None)
        assert f"c{at}" in shown(using), f"lost at statement {at}"
        more = first.count > at
        at += 1
    assert at > 12
    # On a busy machine, some that need not wait look as if they did.
    assert 0 < waited < at * 3 / 4, "the one waits for the other's last statements alone"


@pytest.mark.parametrize("halted", ["parent", "child"])
def test_a_parent_that_goes_while_its_child_comes(server_database: str, halted: str) -> None:
    """Either the child is there and its parent's deletion is refused, or the parent is gone and
    the child waits; no child is refused.
    """
    using = server_database
    apply_batch(stream("one", using), [change("author", "first")], True)
    apply_batch(stream("two", using), [commit_by("first", "first")], True)
    outcomes, reasons, at, more = set(), set(), 0, True
    while more:
        apply_batch(stream("one", using), [change("author", f"a{at}")], True)
        calls = [
            partial(_persistently, "one", using, change("author", f"a{at}", "delete")),
            partial(_persistently, "two", using, commit_by(f"c{at}", f"a{at}")),
        ]
        first = Halted(using, at, calls[halted == "child"])
        assert first.reached.wait(20)
        second = Halted(using, -1, calls[halted != "child"])
        second.thread.join(0.25)
        first.finish()
        second.finish()
        there = Author.objects.using(using).filter(key=f"a{at}").exists()
        assert (f"c{at}" in shown(using)) == there
        assert ParkedChange.objects.using(using).filter(key=f"c{at}").exists() != there
        outcomes.add(there)
        letters = DeadLetter.objects.using(using).all()
        reasons |= set(letters.values_list("reason", flat=True))
        letters.delete()  # or each commit would try all of them again, and take ever longer
        more = first.count > at
        at += 1
    assert outcomes == {True, False}
    assert reasons == {"protected"}


def _persistently(name: str, using: str, message: dict[str, Any]) -> None:
    """As the consumer does it: a commit that the database refuses, or a deadlock, is retried."""
    for _ in range(3):
        try:
            return apply_batch(stream(name, using), [message], True)
        except (IntegrityError, OperationalError):
            continue
    raise AssertionError("not within three attempts")


def test_a_quiet_child_is_shown(
    reference_server: StreamServer, add_stream: Add, database: str
) -> None:
    """Its consumer, which waits for messages that never come, shows it; the parent's consumer
    does not know about it.
    """
    remotes = [RemoteStream(reference_server.stream()) for _ in range(2)]
    parents, children = (add_stream(remote.url, using=database) for remote in remotes)
    remotes[0].append([change("author", "x")])
    remotes[1].append([commit_by("c", "a")])
    with consuming(parents), consuming(children):
        wait_until(lambda: ParkedChange.objects.using(database).exists())
        wait_until(lambda: Author.objects.using(database).exists())
        remotes[0].append([change("author", "a")])
        wait_until(lambda: shown(database) == ["c"])


def test_a_quiet_child_of_the_applications_row(
    reference_server: StreamServer, database: str
) -> None:
    """No commit brings it, so it is looked for now and then."""
    remote = RemoteStream(reference_server.stream())
    office = Stream.objects.using(database).create(name="office", url=remote.url)
    remote.append([change("ticket", "5", group="staff")])
    with consuming(office):
        wait_until(lambda: ParkedChange.objects.using(database).filter(polled=True).exists())
        Group.objects.using(database).create(name="staff")
        wait_until(lambda: Ticket.objects.using(database).exists())
        office.refresh_from_db()
        assert office.status in (Status.LIVE, Status.CATCHING_UP)


@pytest.mark.django_db(transaction=True)
def test_an_error_that_nobody_expected_does_not_end_the_looking(
    reference_server: StreamServer,
) -> None:
    """Whatever comes after it is still shown, and the lease is given back."""
    remote = RemoteStream(reference_server.stream())
    office = Stream.objects.create(name="office", url=remote.url)
    remote.append([change("ticket", "5", group="staff"), change("ticket", "6", group="guests")])

    ordinals: list[int] = []

    def fail_once(at: Progress) -> None:
        ordinals.append(at.ordinal)
        if ordinals.count(2) == 2:  # after a commit that has no message
            raise RuntimeError("nobody expected this")

    def tickets(count: int) -> bool:
        return (
            Ticket.objects.count() == count
            and ParkedChange.objects.filter(polled=True).count() == 2 - count
        )

    def operate() -> None:
        try:
            wait_until(partial(tickets, 0))
            for count, name in enumerate(["staff", "guests"], 1):
                Group.objects.create(name=name)
                wait_until(partial(tickets, count))
        finally:
            operations.pause(office, actor="test")
            connections.close_all()

    operator = threading.Thread(target=operate)
    operator.start()
    with pytest.raises(OperationRefused, match="paused"):
        sync(office, watcher=Watcher(progressed=fail_once))
    operator.join()
    assert Ticket.objects.count() == 2
    assert not leases.holders()


def test_a_closed_stream_is_taken_up_for_a_mark(database: str) -> None:
    """It wants a consumer again when a parent has come that its changes wait for."""
    one, two = stream("one", database), stream("two", database)
    apply_batch(two, [commit_by("c", "a")], True)
    Stream.objects.using(database).filter(pk=two.pk).update(status=Status.CLOSED)
    assert two not in runnable(database)
    apply_batch(one, [change("author", "a")], True)
    assert two in runnable(database)
    with consuming(two) as running:
        assert running.end() is None
    assert shown(database) == ["c"]
    assert two not in runnable(database)
    two.refresh_from_db()
    assert two.status == Status.CLOSED
