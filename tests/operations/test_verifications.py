"""Requested verifications: each is carried out by one worker, shows its progress, and is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from durable_state import operations
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused
from durable_state.models import Generation, Intent, Stream, VerificationRun
from durable_state.operations import verifications
from tests.app.models import Message
from tests.consumer.support.consuming import in_threads, wait_until
from tests.consumer.support.remote import RemoteStream
from tests.servers.process import StreamServer
from tests.wire import message

pytestmark = pytest.mark.django_db(transaction=True)

State = VerificationRun.State


@pytest.fixture
def stream(reference_server: StreamServer) -> Stream:
    """A stream of three messages that was read to its tail."""
    remote = RemoteStream(reference_server.stream())
    remote.append([message(key, "text") for key in "abc"])
    stream = Stream.objects.create(name="chat", url=remote.url)
    sync(stream, until_up_to_date=True)
    return stream


def carry_out() -> VerificationRun:
    """What a worker does."""
    run = operations.take_verification("default")
    assert run is not None
    operations.carry_out(run)
    return VerificationRun.objects.get(pk=run.pk)


def test_the_result_is_kept_with_who_asked(stream: Stream) -> None:
    """Equal or not, by type; the audit entry ends with the result."""
    asked = operations.ask_to_verify(stream, actor="ada")
    assert asked.state == State.ASKED
    done = carry_out()
    assert (done.state, done.intent.actor, done.error) == (State.EQUAL, "ada", "")
    assert done.ended_at is not None
    assert done.result is not None
    assert done.result["types"]["message"] == {"rows": 3, "missing": 0, "extra": 0, "changed": 0}
    assert Intent.objects.get().detail == "equal: 3 rows (message 3)"

    Message.objects.filter(key="b").delete()
    operations.ask_to_verify(stream, actor="bob")
    done = carry_out()
    assert done.result is not None
    assert (done.state, done.result["examples"]) == (State.DIFFERS, [["missing", "message", "b"]])
    assert Intent.objects.first().detail == "differs: 1 difference in 2 rows (message 2)"  # type: ignore[union-attr]


def test_asking_twice_is_asking_once(stream: Stream) -> None:
    """The second request is recorded too; only so many results are kept."""
    first = operations.ask_to_verify(stream, actor="ada")
    assert operations.ask_to_verify(stream, actor="bob") == first
    assert set(Intent.objects.values_list("actor", flat=True)) == {"ada", "bob"}
    VerificationRun.objects.update(state=State.EQUAL)
    for _ in range(verifications.KEPT):
        operations.ask_to_verify(stream, actor="ada")
        VerificationRun.objects.update(state=State.EQUAL)
    assert VerificationRun.objects.count() == verifications.KEPT


def test_one_worker_carries_it_out(stream: Stream) -> None:
    """However many look for it at the same moment."""
    operations.ask_to_verify(stream, actor="ada")
    taken = in_threads(*[lambda: operations.take_verification("default")] * 6)
    assert sorted(each is not None for each in taken) == [False] * 5 + [True]


def test_what_a_worker_left_is_taken_over(stream: Stream) -> None:
    """Once it has been silent for LEASE_SECONDS; after that, its reports are ignored."""
    operations.ask_to_verify(stream, actor="ada")
    lost = operations.take_verification("default")
    assert lost is not None
    assert operations.take_verification("default") is None
    VerificationRun.objects.update(heard_at=timezone.now() - timedelta(seconds=31))
    assert carry_out().state == State.EQUAL
    Message.objects.all().delete()
    operations.carry_out(lost)
    assert VerificationRun.objects.get().state == State.EQUAL


def test_why_it_could_not_be_verified_is_kept(stream: Stream) -> None:
    """In words that everybody who may read the stream may see."""
    operations.reset(stream, actor="ada")
    Stream.objects.update(rebuild=Generation.objects.create(stream=stream, purpose="rebuild"))
    operations.ask_to_verify(stream, actor="ada")
    with pytest.raises(OperationRefused):
        carry_out()
    run = VerificationRun.objects.get()
    assert run.state == State.FAILED
    assert "is being rebuilt" in run.error


def test_a_process_that_ends_hands_it_on(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` carries out requested verifications meanwhile, reports progress, and stops at once."""
    monkeypatch.setattr(verifications, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(verifications, "TOLD_SECONDS", 0.05)
    verify, go_on = operations.verify, threading.Event()

    def slow(stream: Stream, *, on_folded: Callable[[int, int], None], **others: Any) -> Any:
        def step(done: int, total: int) -> None:
            on_folded(done, total)
            assert go_on.wait(10)
            on_folded(done, total)

        return verify(stream, on_folded=step, **others)

    monkeypatch.setattr(verifications, "verify", slow)
    operations.ask_to_verify(stream, actor="ada")
    with operations.verifying_on_request("default"):
        wait_until(lambda: VerificationRun.objects.get().done == 3)
        run = VerificationRun.objects.get()
        assert (run.state, run.phase, run.total) == (State.RUNNING, "folding", 3)
        threading.Timer(0.2, go_on.set).start()
    assert VerificationRun.objects.get().state == State.ASKED

    monkeypatch.setattr(verifications, "verify", verify)
    with operations.verifying_on_request("default"):
        wait_until(lambda: VerificationRun.objects.get().state == State.EQUAL)
    connections.close_all()
    assert not Generation.objects.exists()
