"""A call signed by a stream's own server rings, once; nothing else does."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from durable_state.errors import ConfigurationError
from durable_state.models import Doorbell, Stream
from durable_state.protocol import signatures
from durable_state.webhook import doorbell
from tests.consumer.support.consuming import in_threads
from tests.servers.misbehaving import MisbehavingServer

from .support.signing import SigningServer

_numbers = count()


class Bell:
    """A stream at rest, and the server that may ring for it."""

    def __init__(self, server: SigningServer, using: str, **stream: Any) -> None:
        number = next(_numbers)
        self.server = server
        self.stream = Stream.objects.using(using).create(
            name=f"w{number}", url=f"{server.url}/chat{number}", **{"live": "webhook"} | stream
        )
        self.found = Doorbell.objects.using(using).create(
            stream=self.stream, due_at=timezone.now() + timedelta(hours=1)
        )
        self.url = reverse("durable_state:doorbell", args=[using, self.stream.name])
        self.client = Client(enforce_csrf_checks=True)

    def body(self, generation: int = 1, **other: Any) -> bytes:
        """A wake of the protocol."""
        wake = {
            "subscription_id": self.found.subscription,
            "wake_id": f"w_{generation}",
            "generation": generation,
            "streams": [{"path": self.stream.url.rpartition("/")[2], "has_pending": True}],
            "callback_url": "http://127.0.0.1:9/elsewhere",
            "callback_token": f"token-{generation}",
        }
        return json.dumps(wake | other).encode()

    def ring(self, body: bytes, signature: str | None = None, **extra: Any) -> Any:
        """Calls the view, as the server does."""
        signature = self.server.sign(body) if signature is None else signature
        return self.client.post(
            self.url,
            body,
            content_type="application/json",
            headers={"Webhook-Signature": signature},
            **extra,
        )

    def is_due(self) -> bool:
        """Whether a reader is needed."""
        self.found.refresh_from_db()
        return self.found.due_at <= timezone.now()


@pytest.fixture
def bell(signing_server: SigningServer, using: str) -> Bell:
    """A stream with ``live="webhook"`` on one database after the other."""
    return Bell(signing_server, using)


@pytest.fixture
def one_bell(signing_server: SigningServer, db: None) -> Bell:
    """The same on SQLite alone, for cases that do not depend on the database."""
    return Bell(signing_server, "default")


def test_a_signed_wake_makes_the_stream_due(bell: Bell) -> None:
    """What is needed to acknowledge it later is kept; the answer does not acknowledge it."""
    answer = bell.ring(bell.body(generation=7))
    assert (answer.status_code, answer.json()) == (200, {"done": False})
    assert bell.is_due()
    kept = bell.found
    assert (kept.is_rung, kept.generation, kept.wake_id, kept.token) == (True, 7, "w_7", "token-7")


def test_a_wake_that_comes_again_changes_nothing(bell: Bell) -> None:
    """A replay, or the server's own retry, gets the same answer as the first one."""
    body = bell.body(generation=3)
    signature = bell.server.sign(body)
    assert bell.ring(body, signature).status_code == 200
    Doorbell.objects.using(bell.stream.using).update(
        due_at=timezone.now() + timedelta(hours=1), is_rung=False, token=""
    )

    assert bell.ring(body, signature).status_code == 200
    assert bell.ring(bell.body(generation=2)).status_code == 200
    assert not bell.is_due()
    assert bell.found.token == ""

    assert bell.ring(bell.body(generation=4)).status_code == 200
    assert bell.is_due()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bell, body: "",
        lambda bell, body: "t=1,kid=first,ed25519=x",
        lambda bell, body: bell.server.sign(body + b" "),
        lambda bell, body: bell.server.sign(body, age=310),
        lambda bell, body: bell.server.sign(body, age=-310),
        lambda bell, body: bell.server.sign(body).replace("kid=first", "kid=unknown"),
        lambda bell, body: bell.server.sign(body).replace("t=1", "t=01"),
    ],
    ids=["none", "unreadable", "other body", "old", "ahead", "unknown key", "other timestamp"],
)
def test_what_is_not_signed_does_not_ring(bell: Bell, spoil: Callable[[Bell, bytes], str]) -> None:
    """And learns no more than that."""
    body = bell.body()
    answer = bell.ring(body, spoil(bell, body))
    assert answer.status_code == 401
    assert answer.json() == {"error": "not signed by the stream's server, or not lately"}
    assert not bell.is_due()
    assert bell.found.generation == 0


def test_the_databases_clock_says_what_is_old(one_bell: Bell, settings: Any) -> None:
    """Within what the settings allow."""
    settings.DURABLE_STATE = {"WEBHOOK_SECONDS": 20}
    body = one_bell.body()
    assert one_bell.ring(body, one_bell.server.sign(body, age=25)).status_code == 401
    assert one_bell.ring(body, one_bell.server.sign(body, age=15)).status_code == 200


def test_another_servers_signature_does_not_ring(one_bell: Bell, signing_server: Any) -> None:
    """Nor with a key that has the same id elsewhere."""
    body = one_bell.body()
    stranger = SigningServer(MisbehavingServer())
    assert one_bell.ring(body, stranger.sign(body)).status_code == 401
    assert not one_bell.is_due()


def test_a_rotated_key_is_found_and_the_old_one_forgotten(
    one_bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its id, which the known keys do not have."""
    monkeypatch.setattr("durable_state.webhook.keys.REST_SECONDS", 0.0)
    server = one_bell.server
    assert one_bell.ring(one_bell.body(1)).status_code == 200
    server.rotate("second")

    body = one_bell.body(2)
    assert one_bell.ring(body, server.sign(body, "second")).status_code == 200
    assert one_bell.found.generation == 0 or one_bell.is_due()
    body = one_bell.body(3)
    assert one_bell.ring(body, server.sign(body, "first")).status_code == 401
    one_bell.found.refresh_from_db()
    assert one_bell.found.generation == 2


def test_forged_key_ids_do_not_have_the_server_asked_each_time(one_bell: Bell) -> None:
    """A stranger cannot make us call other servers."""
    body = one_bell.body()
    for number in range(20):
        signature = one_bell.server.sign(body).replace("kid=first", f"kid=forged-{number}")
        one_bell.ring(body, signature)
    assert one_bell.server.times_asked == 1


def test_keys_that_cannot_be_had_are_waited_for(one_bell: Bell) -> None:
    """The server tries again: nobody has said that its signature is wrong."""
    one_bell.server.status = 500
    answer = one_bell.ring(one_bell.body())
    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"
    assert not one_bell.is_due()


def test_a_large_body_is_not_read(one_bell: Bell, settings: Any) -> None:
    """Nor are the keys requested with which it may be signed."""
    settings.DURABLE_STATE = {"WEBHOOK_BYTES": 1000}
    assert one_bell.ring(one_bell.body(description="x" * 1000)).status_code == 413
    assert one_bell.server.times_asked == 0
    assert not one_bell.is_due()


def test_a_body_of_untold_length_is_not_read_on(settings: Any) -> None:
    """As ASGI servers pass on chunked bodies."""
    settings.DURABLE_STATE = {"WEBHOOK_BYTES": 1000}
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    body = io.BytesIO(b"x" * 5000)
    assert doorbell(ASGIRequest(scope, body), "default", "any").status_code == 413
    assert body.tell() <= 1001


@pytest.mark.parametrize(
    "other",
    [
        {"subscription_id": "another"},
        {"streams": [{"path": "another"}]},
        {"streams": []},
        {"streams": "all"},
        {"generation": "1"},
        {"callback_token": "a\nb"},
    ],
    ids=repr,
)
def test_a_wake_of_something_else_does_not_ring(one_bell: Bell, other: dict[str, Any]) -> None:
    """However well it is signed."""
    assert one_bell.ring(one_bell.body(**other)).status_code == 400
    assert not one_bell.is_due()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"\xff"', b"[" * 100_000])
def test_a_body_that_cannot_be_read_does_not_ring(one_bell: Bell, body: bytes) -> None:
    """However well it is signed."""
    assert one_bell.ring(body).status_code == 400
    assert not one_bell.is_due()


def test_a_stream_that_is_followed_does_not_ring(signing_server: SigningServer, db: None) -> None:
    """The same for one that does not exist; strangers cannot tell them apart."""
    followed = Bell(signing_server, "default", live="sse")
    known = followed.ring(followed.body())
    followed.url = reverse("durable_state:doorbell", args=["default", "nothing"])
    unknown = followed.ring(followed.body())
    followed.url = reverse("durable_state:doorbell", args=["nowhere", "nothing"])
    elsewhere = followed.ring(followed.body())
    assert known.status_code == unknown.status_code == elsewhere.status_code == 401
    assert known.content == unknown.content == elsewhere.content
    assert signing_server.times_asked == 0


def test_only_post_rings(one_bell: Bell) -> None:
    """A crawler that finds the URL does nothing."""
    assert one_bell.client.get(one_bell.url).status_code == 405


def test_a_missing_library_is_no_wrong_signature(
    one_bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server tries again, until somebody has installed it."""

    def missing() -> None:
        raise ConfigurationError("not installed", "install it")

    monkeypatch.setattr(signatures, "check_library", missing)
    assert one_bell.ring(one_bell.body()).status_code == 503


def test_the_address_of_the_keys_is_the_streams_own(
    one_bell: Bell, misbehaving_server: MisbehavingServer
) -> None:
    """URLs in the payload are never requested."""
    elsewhere = f"{misbehaving_server.url}/evil"
    one_bell.ring(one_bell.body(callback_url=elsewhere, jwks_url=elsewhere))
    assert {each.path for each in misbehaving_server.asked} == {"/v1/stream/__ds/jwks.json"}


def test_a_ring_does_not_wait_for_a_commit(
    signing_server: SigningServer, server_database: str
) -> None:
    """Which holds the stream's own row."""
    from django.db import transaction

    bell = Bell(signing_server, server_database)
    held, done = threading.Event(), threading.Event()

    def commit() -> None:
        with transaction.atomic(using=server_database):
            Stream.objects.using(server_database).select_for_update().get(pk=bell.stream.pk)
            held.set()
            assert done.wait(20)

    def ring() -> Any:
        assert held.wait(10)
        try:
            return bell.ring(bell.body())
        finally:
            done.set()

    _, answer = in_threads(commit, ring)
    assert getattr(answer, "status_code", answer) == 200
    assert bell.is_due()


def test_of_wakes_at_once_the_newest_stays(
    signing_server: SigningServer, server_database: str
) -> None:
    """In whatever order they come."""
    bell = Bell(signing_server, server_database)
    bodies = [bell.body(generation) for generation in (5, 3, 8, 1)]
    assert bell.ring(bell.body(0)).status_code == 200  # the keys are known from here on
    answers = in_threads(*[lambda body=body: bell.ring(body) for body in bodies])
    assert [getattr(each, "status_code", each) for each in answers] == [200] * 4
    bell.found.refresh_from_db()
    assert (bell.found.generation, bell.found.token) == (8, "token-8")
