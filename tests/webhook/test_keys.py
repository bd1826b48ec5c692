"""A server's keys are requested when they are needed, and no more often than is fair."""

from __future__ import annotations

import threading

import pytest

from durable_state.errors import Unavailable
from durable_state.webhook.keys import FRESH_SECONDS, REST_SECONDS, WAIT_SECONDS, KeyRing


class Server:
    """Gives its keys, and counts."""

    def __init__(self) -> None:
        self.keys = {"a": b"A"}
        self.asked = 0
        self.is_away = False

    def __call__(self) -> dict[str, bytes]:
        self.asked += 1
        if self.is_away:
            raise Unavailable("away")
        return dict(self.keys)


class Clock:
    """Continues when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Of the key ring."""
    return Clock()


@pytest.fixture
def ring(clock: Clock) -> KeyRing:
    """Without any key."""
    return KeyRing(clock)


def test_a_known_key_is_not_asked_for(ring: KeyRing, clock: Clock) -> None:
    """Until it is old enough to have been taken back."""
    server = Server()
    for _ in range(3):
        assert ring.find("s", "a", server) == b"A"
    assert server.asked == 1

    clock.now += FRESH_SECONDS
    server.keys = {"b": b"B"}
    assert ring.find("s", "a", server) is None
    assert server.asked == 2


def test_an_unknown_id_asks_again_but_not_each_time(ring: KeyRing, clock: Clock) -> None:
    """However many ids a stranger makes up; a key that was rotated in is found soon."""
    server = Server()
    ring.find("s", "a", server)
    for number in range(100):
        assert ring.find("s", f"forged-{number}", server) is None
    assert server.asked == 1

    server.keys = {"b": b"B"}
    clock.now += REST_SECONDS
    assert ring.find("s", "b", server) == b"B"
    assert server.asked == 2


def test_a_server_that_is_away_is_not_asked_each_time(ring: KeyRing, clock: Clock) -> None:
    """A failure to verify does not claim that a signature is wrong."""
    server = Server()
    server.is_away = True
    for _ in range(5):
        with pytest.raises(Unavailable):
            ring.find("s", "a", server)
    assert server.asked == 1

    server.is_away = False
    clock.now += REST_SECONDS
    assert ring.find("s", "a", server) == b"A"

    # And a key is not used for longer because nobody can be asked.
    clock.now += FRESH_SECONDS
    server.is_away = True
    with pytest.raises(Unavailable):
        ring.find("s", "a", server)


def test_servers_are_told_apart(ring: KeyRing) -> None:
    """One server's key is not valid for another."""
    one, other = Server(), Server()
    other.keys = {"a": b"other"}
    assert ring.find("one", "a", one) == b"A"
    assert ring.find("other", "a", other) == b"other"


def test_many_requests_at_once_ask_once() -> None:
    """The others wait for its answer."""
    server, ring, begun = Server(), KeyRing(), threading.Event()
    found: list[bytes | None] = []

    def slowly() -> dict[str, bytes]:
        begun.set()
        assert others_wait.wait(WAIT_SECONDS)
        return server()

    others_wait = threading.Event()
    first = threading.Thread(target=lambda: found.append(ring.find("s", "a", slowly)))
    others = [
        threading.Thread(target=lambda: found.append(ring.find("s", "a", slowly))) for _ in range(5)
    ]
    first.start()
    assert begun.wait(5)
    for each in others:
        each.start()
    others_wait.set()
    for each in (first, *others):
        each.join(WAIT_SECONDS)

    assert found == [b"A"] * 6
    assert server.asked == 1
