"""The Celery tasks: who is sent what, when again, and what a real worker does with it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.worker import state
from django.db import connections
from django.utils import timezone
from kombu import Connection
from kombu.exceptions import OperationalError

from durable_state import operations, tasks
from durable_state.consumer import seat_keeper, seating
from durable_state.consumer.run import consume_slice
from durable_state.models import Lease, Seat, Status, Stream
from tests import leases
from tests.consumer.support.consuming import in_threads, wait_until
from tests.consumer.support.remote import RemoteStream, random_items
from tests.servers.process import StreamServer
from tests.tables import check
from tests.wire import insert

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def app(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """A Celery application with its own broker, in this process's memory."""
    monkeypatch.setattr(tasks, "SUPERVISE_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "_supervised", {})
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "SLICE_SECONDS": 1.2}
    app = Celery("tests", broker="memory://")
    app.conf.update(
        broker_connection_retry_on_startup=False,
        broker_transport_options={"polling_interval": 0.02},
        worker_hijack_root_logger=False,
    )
    previous = tasks.consume.app
    app.set_default()
    _sent(app)
    yield app
    _sent(app)
    app.close()
    previous.set_default()


def _sent(app: Celery, name: str = "celery") -> list[Any]:
    """The messages in the queue, which is empty afterwards."""
    found: list[Any] = []
    with Connection("memory://") as connection, connection.SimpleQueue(name) as waiting:
        while True:
            try:
                message = waiting.get_nowait()
            except queue.Empty:
                return found
            message.ack()
            found.append(message)


def sent(app: Celery, name: str = "celery") -> list[list[Any]]:
    """The arguments of each `consume` task in the queue."""
    return [message.payload[0] for message in _sent(app, name)]


def make(*names: str, url: str = "http://tests.invalid/s", **values: Any) -> list[Stream]:
    """Streams that nobody has consumed yet."""
    return [Stream.objects.create(name=name, url=url, **values) for name in names]


def test_a_task_is_sent_for_each_seat_that_the_streams_need(app: Celery, settings: Any) -> None:
    """Once for each; streams that do not want a consumer, or have one, need none."""
    settings.DURABLE_STATE = {"SEAT_STREAMS": 2}
    make("paused", paused=True)
    for status in (Status.HALTED, Status.CLOSED, Status.NEEDS_RESET):
        make(f"s-{status.value}", status=status)
    make("later", status=Status.RETRYING, retry_at=timezone.now() + timedelta(seconds=60))
    (held,) = make("held")
    assert leases.acquire(held, "elsewhere:1:sync:x")
    assert tasks.supervise() == 0
    make("a", "b")
    make("due", status=Status.RETRYING, retry_at=timezone.now() - timedelta(seconds=1))
    assert tasks.supervise() == 2
    assert sent(app) == [["default"], ["default"]]
    assert tasks.supervise() == 0
    assert sent(app) == []


def test_the_settings_say_how_many_seats_there_are(app: Celery, settings: Any) -> None:
    """Never more than there are streams."""
    settings.DURABLE_STATE = {"SEATS": 3}
    make("a", "b")
    assert tasks.supervise() == 2
    make("c", "d")
    assert tasks.supervise() == 1


def test_a_lost_task_is_sent_again(app: Celery) -> None:
    """After LEASE_SECONDS, on the database's clock; no task expiry, on a worker's clock,
    discards it.
    """
    make("a")
    tasks.supervise()
    (message,) = _sent(app)
    assert message.headers["expires"] is None
    assert tasks.supervise() == 0
    leases.let_pass(1.1)
    assert tasks.supervise() == 1
    assert sent(app) == [["default"]]


def test_a_task_may_run_for_longer_than_the_projects_limits(app: Celery) -> None:
    """They may be shorter than the slice."""
    app.conf.task_time_limit = 0.1
    make("a")
    tasks.supervise()
    (message,) = _sent(app)
    hard, soft = message.headers["timelimit"]
    assert 1.2 < soft < hard


def test_tasks_that_have_piled_up_cost_nothing(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process checks once a second, however often it is told to."""
    monkeypatch.setattr(tasks, "SUPERVISE_SECONDS", 60.0)
    make("a")
    assert [tasks.supervise() for _ in range(20)] == [1, *[0] * 19]


def test_a_late_task_ends_at_once(app: Celery) -> None:
    """If all seats that the streams need are filled."""
    make("a")
    place = seating.join("default", "run", 1000)
    started = time.monotonic()
    tasks.consume()
    assert time.monotonic() - started < 1
    assert sent(app) == []
    seating.leave(place)


def test_an_eager_application_does_not_hand_over(app: Celery) -> None:
    """It would do so inside itself, for ever; each call of supervise is one slice then."""
    (stream,) = make("a", url="http://127.0.0.1:9/s")
    app.conf.task_always_eager = True
    assert tasks.supervise() == 1
    stream.refresh_from_db()
    assert stream.status == Status.RETRYING


def test_tasks_go_to_the_queue_of_the_settings(app: Celery, settings: Any) -> None:
    """And to no other."""
    settings.DURABLE_STATE = {"QUEUE": "streams"}
    make("a")
    tasks.supervise()
    assert sent(app) == []
    assert sent(app, "streams") == [["default"]]


def test_a_slice_hands_its_seat_over(app: Celery, reference_server: StreamServer) -> None:
    """With the streams, which nobody else takes until the successor has had its time."""
    remote, done = RemoteStream(reference_server.stream()), RemoteStream(reference_server.stream())
    remote.append(random_items(1, 40))
    done.append(random_items(2, 20))
    done.close()
    live, closed = make("live", url=remote.url)[0], make("closed", url=done.url)[0]
    started = time.monotonic()
    tasks.consume()
    assert 1 < time.monotonic() - started < 6
    assert sent(app) == [["default"]]
    seat = Seat.objects.get()
    assert seat.is_vacant
    assert list(Lease.objects.filter(seat=seat).values_list("stream", flat=True)) == [live.pk]
    check(live, remote.items)
    check(closed, done.items)
    assert closed.status == Status.CLOSED
    assert tasks.supervise() == 0

    before = Lease.objects.get(pk=live.pk).token
    tasks.consume()
    assert Seat.objects.get().pk == seat.pk
    assert Lease.objects.get(pk=live.pk).token == before + 1


def test_a_seat_that_was_lost_is_filled_again_while_the_broker_is_away(
    app: Celery, reference_server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that outlasts its slice costs the seat; without a broker, nobody else would come."""
    monkeypatch.setattr(seat_keeper, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", (1.0, 1.0))
    app.conf.update(broker_url="redis://127.0.0.1:9/0", task_publish_retry=False)
    remote = RemoteStream(reference_server.stream())
    (stream,) = make("a", url=remote.url)
    errors: list[BaseException] = []

    def consume() -> None:
        try:
            tasks.consume()
        except OperationalError as error:
            errors.append(error)
        finally:
            connections.close_all()

    consuming = threading.Thread(target=consume)
    consuming.start()
    try:
        time.sleep(3.5)  # the slice of 1.2 seconds is over
        remote.append([insert("message", "a", {"text": "hi"})])
        wait_until(lambda: Stream.objects.filter(pk=stream.pk, ordinal=1).exists())
    finally:
        monkeypatch.setattr(state, "should_stop", True)
        consuming.join(15)
    assert not consuming.is_alive()
    assert len(errors) == 1


def test_the_same_task_twice_does_no_harm(app: Celery, reference_server: StreamServer) -> None:
    """At once, or late: the leases are taken, and each message is materialized once."""
    remote = RemoteStream(reference_server.stream())
    remote.append(random_items(3, 80))
    (stream,) = make("a", url=remote.url)
    results = in_threads(*[lambda: consume_slice("default")] * 3)
    assert set(results) <= {True, False}
    check(stream, remote.items)
    assert Lease.objects.get().token <= 3


def test_a_broken_stream_holds_up_no_other(app: Celery, reference_server: StreamServer) -> None:
    """It retries while the others of its slice are consumed."""
    remote = RemoteStream(reference_server.stream())
    remote.append(random_items(4, 40))
    (broken,) = make("broken", url="http://127.0.0.1:9/s")
    (nonsense,) = make("nonsense", url="nonsense://x")
    (good,) = make("good", url=remote.url)
    tasks.consume()
    check(good, remote.items)
    broken.refresh_from_db()
    nonsense.refresh_from_db()
    assert (broken.status, nonsense.status) == (Status.RETRYING, Status.HALTED)
    assert "nonsense" in nonsense.last_error


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_worker_follows_streams_from_slice_to_slice(
    app: Celery, reference_server: StreamServer
) -> None:
    """supervise, consume, hand over: whatever is appended at any moment is shown, and nothing
    twice.
    """
    remotes = [RemoteStream(reference_server.stream()) for _ in range(3)]
    streams = [make(f"s{n}", url=remote.url)[0] for n, remote in enumerate(remotes)]
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.3):
            tasks.supervise.delay()

    beating = threading.Thread(target=beat)
    with start_worker(
        app, pool="threads", concurrency=3, perform_ping_check=False, shutdown_timeout=10
    ):
        beating.start()
        try:
            for number in range(4):
                for remote in remotes:
                    remote.append(
                        [*random_items(number, 15), insert("message", "a", {"text": "hi"})]
                    )
                time.sleep(0.6)
            wait_until(
                lambda: all(
                    Stream.objects.filter(pk=stream.pk, ordinal=64).exists() for stream in streams
                )
            )
        finally:
            ended.set()
            beating.join()
            for stream in streams:
                operations.pause(stream, actor="test")
            wait_until(lambda: not leases.holders())
    for stream, remote in zip(streams, remotes, strict=True):
        check(stream, remote.items)
    assert min(Lease.objects.values_list("token", flat=True)) > 1
    connections.close_all()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_quiet_stream_stays_live_while_its_slice_changes_hands(
    app: Celery, reference_server: StreamServer, settings: Any
) -> None:
    """However long ago its last event was; once the workers are gone it says so, and what to
    start.
    """
    settings.DURABLE_STATE = {"LEASE_SECONDS": 4, "SLICE_SECONDS": 0.8}
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", "a", {"text": "hi"})])
    (stream,) = make("quiet", url=remote.url)
    long_ago = timezone.now() - timedelta(hours=1)
    seen = set()
    with start_worker(
        app, pool="threads", concurrency=2, perform_ping_check=False, shutdown_timeout=10
    ):
        tasks.supervise.delay()
        wait_until(lambda: operations.report(stream).status == "live")
        Stream.objects.update(since=long_ago, created_at=long_ago, up_to_date_at=long_ago)
        first = Lease.objects.get().token
        until = time.monotonic() + 60
        while Lease.objects.get().token < first + 4 and time.monotonic() < until:
            report = operations.report(stream)
            seen.add((report.status, report.stuck))
            assert report.lag_seconds < 6
            time.sleep(0.02)
    assert Lease.objects.get().token >= first + 4
    assert seen == {("live", False)}

    wait_until(lambda: operations.report(stream).status == "no-worker", 30)
    report = operations.report(stream)
    assert (report.stuck, report.holder) == (True, "")
    assert "Celery worker and beat" in report.action
    connections.close_all()


TEXTS = {"default": "hi", "postgres": "ünï😀"}


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_one_worker_consumes_several_databases(
    app: Celery, reference_server: StreamServer, settings: Any
) -> None:
    """Each has its own seats, kept filled by its own supervise, from slice to slice."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 4, "SLICE_SECONDS": 0.8, "SEATS": 1}
    remotes = {alias: RemoteStream(reference_server.stream()) for alias in TEXTS}
    streams = {
        alias: Stream.objects.using(alias).create(name="same", url=remote.url)
        for alias, remote in remotes.items()
    }
    with start_worker(
        app, pool="threads", concurrency=3, perform_ping_check=False, shutdown_timeout=10
    ):
        for alias in remotes:
            tasks.supervise.delay(database=alias)
        for number in range(1, 4):
            for alias, remote in remotes.items():
                remote.append([insert("message", "a", {"text": TEXTS[alias]})])
                wait_until(lambda: Stream.objects.using(alias).filter(ordinal=number).exists())  # noqa: B023
        for alias in remotes:
            leases_there = Lease.objects.using(alias)
            wait_until(lambda: leases_there.get().token >= 3)  # noqa: B023
            operations.pause(streams[alias], actor="test")
            wait_until(lambda: not leases.holders(alias))  # noqa: B023
    for alias, remote in remotes.items():
        check(streams[alias], remote.items)
    connections.close_all()
