"""Who consumes a stream: "live" is said only if somebody does."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from durable_state import operations
from durable_state.models import Status, Stream
from tests import leases
from tests.following import HERE, follow, leave

pytestmark = pytest.mark.django_db

START = "Start: manage.py durable_state run, or a Celery worker and beat"


def ago(seconds: float) -> Any:
    """A moment in the past."""
    return timezone.now() - timedelta(seconds=seconds)


def make(using: str = "default", *, seconds: float = 9999, **fields: Any) -> Stream:
    """A stream for which nothing has happened for so many seconds."""
    moments = {"since": ago(seconds), "created_at": ago(seconds)}
    if fields.get("status") in (Status.LIVE, Status.CLOSED):
        moments["up_to_date_at"] = ago(seconds)
    url = "http://localhost/chat"
    return Stream.objects.using(using).create(name="chat", url=url, **(moments | fields))


@pytest.mark.parametrize(
    "status", [Status.NEW, Status.CATCHING_UP, Status.LIVE, Status.RETRYING], ids=str
)
@pytest.mark.parametrize(("seconds", "alone"), [(44, False), (46, True)])
def test_a_stream_without_a_worker_says_so_after_one_and_a_half_lease_times(
    status: Status, seconds: float, alone: bool
) -> None:
    """Whatever it did before; the status says what to start."""
    report = operations.report(make(seconds=seconds, status=status))
    assert (report.status == "no-worker", report.stuck) == (alone, alone)
    if alone:
        assert report.why.startswith("no worker for 46 s")
        assert report.action == START
        assert (timezone.now() - report.since).total_seconds() == pytest.approx(46, abs=2)


@pytest.mark.parametrize(("seconds", "alone"), [(2, False), (4, True)])
def test_the_time_follows_the_lease(seconds: float, alone: bool) -> None:
    """Short leases make this short too."""
    stream = make(seconds=seconds, status=Status.LIVE)
    with override_settings(DURABLE_STATE={"LEASE_SECONDS": 2}):
        assert (operations.report(stream).status == "no-worker") is alone


def test_a_new_stream_says_what_to_start() -> None:
    """At once: nobody has ever consumed it."""
    report = operations.report(make(seconds=0))
    assert (report.status, report.stuck) == ("new", False)
    assert (report.why, report.action) == ("no worker has taken it yet", START)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_quiet_stream_is_live_for_as_long_as_it_is_held(database: str) -> None:
    """However long ago its last event was, even while its slice changes hands, by any clock."""
    stream = make(database, status=Status.LIVE)
    for _ in range(2):
        token = follow(stream, leases.name_process("test"))
        report = operations.report(stream)
        assert (report.status, report.stuck, report.lag_seconds) == ("live", False, 0.0)
        assert report.holder.split(":")[2] == "test"
        leave(stream, token)
        report = operations.report(stream)
        assert (report.status, report.stuck, report.holder) == ("live", False, "")
        assert report.lag_seconds < 10
    leases.was_seen(ago(46), using=database)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("no-worker", True)
    if database == "default":
        assert report.action == START
    else:
        assert report.action == START.replace("run", f"run --database {database}") + (
            f" with a supervise entry for it (kwargs: database={database})"
        )


def test_a_worker_that_died_is_missed() -> None:
    """Its lease expires first; it then counts as last seen when it renewed it."""
    stream = make(status=Status.LIVE)
    follow(stream)
    leases.was_seen(ago(31), expires_at=ago(1))
    report = operations.report(stream)
    assert (report.status, report.holder, report.stuck) == ("lagging", "", False)
    assert (report.why, report.action) == ("no worker for 31 s", START)
    assert report.lag_seconds == pytest.approx(31, abs=2)
    leases.was_seen(ago(46), expires_at=ago(16))
    assert operations.report(stream).why == "no worker for 46 s"


def test_a_stream_that_waits_for_its_next_attempt_is_not_left_alone() -> None:
    """The server may have asked for an hour; nobody holds the lease meanwhile."""
    failed: dict[str, Any] = {"last_error": "busy", "action": "Retrying automatically."}
    stream = make(status=Status.RETRYING, since=ago(200), retry_at=ago(-3000), **failed)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("retrying", False)
    Stream.objects.update(retry_at=ago(46))
    report = operations.report(stream)
    assert (report.why, report.action) == ("no worker for 46 s; busy", START)


@pytest.mark.parametrize("fields", [{"paused": True}, {"status": Status.CLOSED}], ids=str)
def test_what_wants_no_worker_misses_none(fields: dict[str, Any]) -> None:
    """A paused stream says so, and so does a complete one."""
    report = operations.report(make(**({"status": Status.LIVE} | fields)))
    assert report.status == ("paused" if "paused" in fields else "closed")
    assert not report.stuck


def test_a_stream_that_was_read_to_its_tail_on_purpose_is_not_live() -> None:
    """As cron does: up to date as of then, followed by nobody, and nobody has to act."""
    stream = make(status=Status.LIVE)
    leave(stream, follow(stream), at_tail=True)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("up-to-date", False)
    as_of = f"{timezone.localtime():%H:%M}"
    assert report.why.startswith("up to date as of ")
    assert report.why.endswith(", nobody follows it")
    assert as_of[:2] in report.why
    assert report.action == START
    leases.was_seen(ago(9000))
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("up-to-date", False)
    assert report.lag_seconds == pytest.approx(9000, abs=5)


def test_a_follower_takes_over_from_cron() -> None:
    """And is missed when it leaves."""
    stream = make(status=Status.LIVE)
    leave(stream, follow(stream), at_tail=True)
    follow(stream)
    assert operations.report(stream).status == "live"
    leases.was_seen(ago(46), expires_at=ago(16))
    assert operations.report(stream).status == "no-worker"


def test_a_reset_of_what_nobody_follows_wants_a_worker() -> None:
    """The stream that was left at its tail has something to do again."""
    stream = make(status=Status.LIVE)
    leave(stream, follow(stream), at_tail=True)
    operations.reset(stream, actor="test")
    assert operations.report(stream).status == "rebuilding"
    leases.was_seen(ago(50))
    stream.replay.__class__.objects.update(since=ago(46))
    assert operations.report(stream).why == "no worker for 46 s"


def test_a_worker_of_this_machine_that_died_is_nobody_at_once() -> None:
    """Its process is gone, whatever its lease says; the lag counts from its last sign of life."""
    stream = make(status=Status.LIVE)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    holder = leases.name_process("run").replace(f":{os.getpid()}:", f":{process.pid}:")
    follow(stream, holder)
    leases.was_seen(ago(5))
    report = operations.report(stream)
    assert report.holder == ""
    assert report.lag_seconds == pytest.approx(5, abs=2)


@pytest.mark.parametrize(("seconds", "lag"), [(12, 0), (20, 20)])
def test_a_renewal_that_is_overdue_is_lag(seconds: float, lag: float) -> None:
    """A worker on another machine may have died: its last report is all that is known."""
    stream = make(status=Status.LIVE)
    follow(stream)
    leases.was_seen(ago(seconds))
    report = operations.report(stream)
    assert (report.status, report.holder) == ("lagging" if lag else "live", HERE)
    assert report.lag_seconds == pytest.approx(lag, abs=2)
    assert report.why == (f"its worker has shown no sign of life for {lag:.0f} s" if lag else "")
