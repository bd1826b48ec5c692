"""What servers, people and other streams do to streams with doorbells."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, NoReturn

import httpx
import pytest
from django.utils import timezone

from durable_state import operations
from durable_state.consumer import make_due
from durable_state.consumer.visit import Visit
from durable_state.errors import Unavailable
from durable_state.models import Doorbell, Live
from durable_state.transport import Subscriptions
from tests.app.models import Commit
from tests.consumer.support.consuming import wait_until
from tests.databases import alias_of, only
from tests.wire import change, commit_by, insert

from .support.bells import Add, seated

DOORBELLS = [Live.WEBHOOK, Live.PULL_WAKE]


@pytest.fixture(params=[only("default")])
def database(request: pytest.FixtureRequest) -> str:
    """SQLite alone: test_end_to_end.py covers each database."""
    return alias_of(request)


@pytest.mark.parametrize("live", DOORBELLS)
def test_a_server_that_has_forgotten_is_asked_again(
    add_rung: Add, live: str, settings: Any
) -> None:
    """By the regular read, which also reads what the server did not ring for."""
    rung = add_rung(live)
    with seated(rung.using):
        rung.wait_until_at_rest()
        rung.forget_at_server()
        rung.remote.append([insert("message", "a", {"text": "hi"})])
        make_due([rung.stream.pk], rung.using)  # an hour later
        rung.wait_until_at_rest()

        rung.remote.append([insert("message", "A", {"text": "hi"})])
        rung.wait_until_at_rest()
        wait_until(rung.is_acknowledged)


@pytest.mark.parametrize("live", DOORBELLS)
def test_a_stream_may_be_followed_instead(add_rung: Add, live: str) -> None:
    """Its server stops ringing; and when it gets a doorbell again, that is another subscription."""
    rung = add_rung(live)
    with seated(rung.using):
        rung.wait_until_at_rest()
        before = rung.subscription_url()
        operations.edit(rung.stream, actor="test", live="sse")
        assert httpx.get(before).status_code == 404
        assert not Doorbell.objects.using(rung.using).filter(pk=rung.stream.pk).exists()

        rung.remote.append([insert("message", "a", {"text": "hi"})])
        wait_until(rung.is_read)
        wait_until(lambda: operations.report(rung.stream).status == "live")

        # Also while somebody follows it, who then lets go of it.
        operations.edit(rung.stream, actor="test", live=live)
        rung.wait_until_at_rest()
        assert rung.subscription_url() != before
        rung.remote.append([insert("message", "A", {"text": "hi"})])
        rung.wait_until_at_rest()


@pytest.mark.parametrize("live", DOORBELLS)
def test_a_removed_stream_is_not_rung_for(add_rung: Add, live: str) -> None:
    """Its subscription is deleted with it."""
    rung = add_rung(live)
    assert operations.ring_for(rung.stream).good
    url = rung.subscription_url()
    assert httpx.get(url).status_code == 200
    operations.remove(rung.stream, actor="test")
    assert httpx.get(url).status_code == 404


def test_what_is_appended_while_it_is_read_rings_again(
    add_rung: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the server does not ring while it waits for the answer to its first ring."""
    rung = add_rung(Live.WEBHOOK)
    finish = Visit.finish

    async def append_and_finish(visit: Visit) -> None:
        if len(rung.remote.items) == 1:
            await asyncio.to_thread(rung.remote.append, [insert("message", "A", {"text": "hi"})])
        await finish(visit)

    with seated(rung.using):
        rung.wait_until_at_rest()
        monkeypatch.setattr(Visit, "finish", append_and_finish)
        rung.remote.append([insert("message", "a", {"text": "hi"})])
        wait_until(lambda: len(rung.remote.items) == 2)
        rung.wait_until_at_rest()
        wait_until(rung.is_acknowledged)


def test_a_server_that_cannot_be_told_is_told_soon(
    add_rung: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is read, and what acknowledges the wake is kept."""

    async def fail(*args: Any) -> NoReturn:
        raise Unavailable("It is away.")

    rung = add_rung(Live.WEBHOOK)
    with seated(rung.using):
        rung.wait_until_at_rest()
        with monkeypatch.context() as patched:
            patched.setattr(Subscriptions, "acknowledge", fail)
            rung.remote.append([insert("message", "a", {"text": "hi"})])
            wait_until(lambda: rung.is_read() and bool(rung.doorbell.last_error))
            wait_until(lambda: rung.doorbell.due_at > timezone.now())

        kept = rung.doorbell
        assert kept.is_rung
        assert kept.token
        assert kept.due_at < timezone.now() + timedelta(seconds=35)
        assert "It is away." in operations.report(rung.stream).why

        make_due([rung.stream.pk], rung.using)  # half a minute later
        rung.wait_until_at_rest()
        wait_until(rung.is_acknowledged)
        assert rung.doorbell.last_error == ""
        assert rung.doorbell.token == ""


def test_a_claim_that_cannot_be_read_for_is_given_back(add_rung: Add, settings: Any) -> None:
    """Of a stream that halts; whoever fixes and resumes it claims again."""
    rung = add_rung(Live.PULL_WAKE)
    with seated(rung.using):
        rung.wait_until_at_rest()
        settings.DURABLE_STATE |= {"MESSAGE_BYTES": 100}
        rung.remote.append([insert("message", "a", {"text": "", "more": "x" * 200})])
        wait_until(lambda: operations.report(rung.stream).status == "halted")
        wait_until(lambda: not rung.doorbell.wake_id)
        assert rung.doorbell.is_rung
        claimed = httpx.post(f"{rung.subscription_url()}/claim", json={"worker": "another"})
        assert claimed.status_code == 200
        given = claimed.json()
        httpx.post(
            f"{rung.subscription_url()}/release",
            json={"wake_id": given["wake_id"], "generation": given["generation"]},
            headers={"authorization": f"Bearer {given['token']}"},
        ).raise_for_status()

        del settings.DURABLE_STATE["MESSAGE_BYTES"]
        settings.DURABLE_STATE = dict(settings.DURABLE_STATE)
        operations.resume(rung.stream, actor="test")
        rung.wait_until_at_rest()
        wait_until(rung.is_acknowledged)


def test_a_parent_in_another_stream_is_taken_up(add_rung: Add) -> None:
    """Although nothing rings for the child that has waited for it."""
    child, parent = add_rung(Live.WEBHOOK), add_rung(Live.WEBHOOK)
    child.remote.append([commit_by("c", "a")])
    with seated(child.using):
        child.wait_until_at_rest()
        parent.remote.append([change("author", "a")])
        parent.wait_until_at_rest()
        shown = Commit.objects.using(child.using).filter(key="c")
        wait_until(shown.exists)
        child.wait_until_at_rest()
