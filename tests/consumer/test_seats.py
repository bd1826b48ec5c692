"""Seats share the streams, hand them over, and cost the same however many streams there are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import django.db
import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from durable_state.consumer import lease, seating
from durable_state.consumer.claiming import find_demand
from durable_state.consumer.looking import look_at_held
from durable_state.consumer.process_names import is_known_dead
from durable_state.models import Lease, Seat, Status, Stream
from tests import leases
from tests.servers.misbehaving import MisbehavingServer

from .support.consuming import in_threads, seat, wait_until
from .support.serving import good, quiet

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


@pytest.fixture
def quiet_url(misbehaving_server: MisbehavingServer) -> str:
    """Below it, each path is a stream on which nothing happens."""
    replies = good([])
    misbehaving_server.reply = lambda asked: quiet(asked, replies)
    return misbehaving_server.url


def shares(using: str) -> list[int]:
    """How many streams each seat has."""
    return sorted(each.held for each in seating.occupied(using))


def test_streams_are_shared_evenly_by_whoever_is_there(
    database: str, quiet_url: str, add_stream: Add, settings: Any
) -> None:
    """Within seconds after a seat comes or goes; each stream has one holder all the time."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 6, "SEATS": 3}
    for number in range(12):
        add_stream(f"{quiet_url}/{number}", using=database, live="long-poll")
    with seat(database):
        wait_until(lambda: shares(database) == [12], 10)
        with seat(database) as second:
            wait_until(lambda: shares(database) == [6, 6], 10)
            with seat(database):
                wait_until(lambda: shares(database) == [4, 4, 4], 10)
                second.set()
                wait_until(lambda: shares(database) == [6, 6], 10)
    assert shares(database) == []
    assert not leases.holders(database)


def test_new_streams_are_live_within_two_seconds(
    quiet_url: str, add_stream: Add, settings: Any
) -> None:
    """Added one after another, and they stay small; no task is sent for them."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 6}
    add_stream(f"{quiet_url}/first", live="long-poll")
    live = Stream.objects.filter(status=Status.LIVE)
    with seat("default"):
        wait_until(lambda: live.count() == 1, 10)
        for number in range(2, 7):
            began = time.monotonic()
            add_stream(f"{quiet_url}/{number}", live="long-poll")
            wait_until(lambda: live.count() == number, 10)  # noqa: B023
            assert time.monotonic() - began < 2
        assert set(Lease.objects.values_list("token", flat=True)) == {1}


def test_an_end_gives_all_back_at_once(quiet_url: str, add_stream: Add, settings: Any) -> None:
    """A worker that is asked to end does so in a moment, whatever its streams wait for."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 30}
    for number in range(30):
        add_stream(f"{quiet_url}/{number}", live="long-poll")
    with seat("default") as ends:
        wait_until(lambda: Stream.objects.filter(status=Status.LIVE).count() == 30)
        began = time.monotonic()
        ends.set()
        wait_until(lambda: not Seat.objects.exists())
        assert time.monotonic() - began < 5
    assert not leases.holders()


def test_of_many_that_claim_at_once_each_stream_gets_one(database: str, add_stream: Add) -> None:
    """And has changed hands once; nobody waits long for another's claim."""
    pks = [add_stream(using=database).pk for _ in range(20)]
    places = [seating.join(database, "test", 1000) for _ in range(4)]
    claims = in_threads(*(partial(lease.claim, place, pks) for place in places))
    taken = [each for some in claims for each in some]  # type: ignore[attr-defined]
    assert sorted(each.stream_pk for each in taken) == pks
    assert {each.token for each in taken} == {1}
    held = Lease.objects.using(database).filter(seat__in=[place.pk for place in places])
    assert held.count() == 20


def test_a_seat_that_slept_has_nothing_any_more(database: str, add_stream: Add) -> None:
    """It can neither renew itself, nor take the streams of others, nor anything else."""
    pks = [add_stream(using=database).pk for _ in range(3)]
    sleeper = seating.join(database, "test", 1000)
    assert len(lease.claim(sleeper, pks)) == 3
    leases.let_pass(1.2, database)
    successor = seating.join(database, "test", 1000)
    assert [each.held for each in seating.occupied(database)] == [0]
    assert {each.token for each in lease.claim(successor, pks)} == {2}
    assert not seating.renew(sleeper)
    assert lease.claim(sleeper, pks) == []
    assert look_at_held(sleeper) == {}
    lease.give_back(sleeper, pks)
    seating.leave(sleeper)
    assert set(look_at_held(successor)) == set(pks)
    lease.give_back(successor, pks)
    with pytest.raises(django.db.IntegrityError):
        lease.claim(sleeper, pks)


def test_who_renews_in_time_is_not_freed(database: str, add_stream: Add, settings: Any) -> None:
    """However close it was: either the other seat sees the renewal, or this one sees its end."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 60}
    place = seating.join(database, "test", 1000)
    pks = [add_stream(using=database).pk]
    lease.claim(place, pks)
    for _ in range(3):
        leases.let_pass(40, database)
        assert seating.renew(place)
    assert [each.held for each in seating.occupied(database)] == [1]


def test_a_place_that_is_kept_is_taken_once(database: str, add_stream: Add) -> None:
    """With its streams, each of which changes hands."""
    pks = [add_stream(using=database).pk for _ in range(3)]
    place = seating.join(database, "test", 1000)
    lease.claim(place, pks)
    seating.vacate(place)
    assert not seating.renew(place), "it is another's to be"
    takes = in_threads(*[partial(seating.take_vacant, database, "test", 1000)] * 4)
    taken = [each for each in takes if each is not None]
    assert len(taken) == 1
    (successor,) = taken
    assert isinstance(successor, seating.Place)
    assert [each.token for each in lease.claims_of(successor)] == [2, 2, 2]


def test_a_place_outlives_the_process_that_kept_it(database: str, add_stream: Add) -> None:
    """Its streams wait for the successor, although the process that had them has ended."""
    pks = [add_stream(using=database).pk]
    place = seating.join(database, "test", 1000)
    lease.claim(place, pks)
    seating.vacate(place)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        name = place.name.replace(f":{os.getpid()}:", f":{dead.pid}:")
    assert is_known_dead(name)
    Seat.objects.using(database).filter(pk=place.pk).update(name=name)
    assert [each.held for each in seating.occupied(database)] == [1]
    successor = seating.take_vacant(database, "test", 1000)
    assert successor is not None
    assert [each.stream_pk for each in lease.claims_of(successor)] == pks


def test_upkeep_costs_the_same_however_many_streams_there_are(
    database: str, add_stream: Add
) -> None:
    """Statements, for everything that a seat does repeatedly."""
    place, counts = seating.join(database, "test", 1000), []
    for streams in (1, 40):
        pks = [add_stream(using=database).pk for _ in range(streams)]
        lease.claim(place, pks)
        with CaptureQueriesContext(connections[database]) as asked:
            seating.renew(place)
            find_demand(database)
            assert len(look_at_held(place)) >= streams
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 6
