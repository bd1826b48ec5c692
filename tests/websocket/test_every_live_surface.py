"""What ends, or narrows, what somebody reads live does so on every live surface.

One reader each of ``ws/state/<stream>/``, ``ws/state/``, an event stream and long-polls, as real
clients are: they come back until they are refused.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import httpx
import pytest
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.models import Session
from django.core import signing
from django.core.asgi import get_asgi_application
from django.db import connections
from django.db.models import QuerySet
from django.test import Client as Browser
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from durable_state import StatePolicy
from durable_state.feed import renewal
from durable_state.models import Status, Stream
from durable_state.rest.feed import FeedView, live
from durable_state.routing import websocket_urlpatterns
from durable_state.websocket import heart
from tests.app.models import Message
from tests.feed.support.commits import commit, make_stream, message
from tests.rest.feed.support.reader import FEED
from tests.rest.feed.support.server import serving

pytestmark = pytest.mark.django_db(transaction=True)

SIGNER = signing.TimestampSigner(sep=".")
"""Its tokens are fit for a subprotocol."""
SURFACES = ["single", "multi", "sse", "long-poll"]


class Rules(StatePolicy):
    """The default, and of the messages the popular ones only while ``narrows``."""

    narrows: ClassVar[bool] = False

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the default that are left."""
        found = super().rows(user, queryset)
        return found.filter(likes__gt=10) if self.narrows and found.model is Message else found


class Tokens(BaseAuthentication):
    """Signed tokens that expire, and can be revoked: for REST, and for sockets."""

    lifetime: ClassVar[int] = 1000
    are_revoked: ClassVar[bool] = False

    @classmethod
    def user_of(cls, token: str) -> User | None:
        """Whose token it is, if it is valid."""
        try:
            pk = SIGNER.unsign(token, max_age=cls.lifetime)
        except signing.BadSignature:
            return None
        return None if cls.are_revoked else User.objects.get(pk=pk)

    def authenticate(self, request: Any) -> tuple[User, str] | None:
        """As REST framework asks."""
        token = request.headers.get("Authorization", "")
        user = self.user_of(token)
        if user is None:
            raise AuthenticationFailed
        return user, token


def by_token(scope: Any) -> Any:
    """As WEBSOCKET_AUTHENTICATION asks: the second subprotocol is the token, if there is one."""
    offered = scope["subprotocols"]
    return (Tokens.user_of(offered[1]) or AnonymousUser()) if len(offered) > 1 else None


class Reader(threading.Thread):
    """Reads until it is refused, or stopped."""

    def __init__(self, surface: str, address: str, cookie: str, token: str) -> None:
        super().__init__(daemon=True)
        self._surface, self._address, self._cookie, self._token = surface, address, cookie, token
        self.received = ""
        """All that it was ever sent."""
        self.state: dict[str, Any] = {}
        self.is_live = False
        self.refused: int | str | None = None
        """By which close code, or status of HTTP; "closed": it was told that nothing follows."""
        self._stopped = False

    def run(self) -> None:
        """Reads."""
        is_socket = self._surface in ("single", "multi")
        self.refused = self._read_socket() if is_socket else self._read_feed()

    def stop(self) -> None:
        """Leaves."""
        self._stopped = True
        self.join(10)
        assert not self.is_alive(), f"{self._surface} hangs"

    def _read_socket(self) -> int | None:
        path = "/ws/state/" if self._surface == "multi" else "/ws/state/chat/"
        with connect(
            f"ws{self._address.removeprefix('http')}{path}",
            additional_headers={"Cookie": self._cookie},
            subprotocols=["durable-state", self._token] if self._token else None,  # type: ignore[list-item]
        ) as socket:
            if self._surface == "multi":
                socket.send('{"subscribe": "chat"}')
            while not self._stopped:
                try:
                    text = str(socket.recv(timeout=0.1))
                except TimeoutError:
                    continue
                except ConnectionClosed as error:
                    return error.rcvd.code if error.rcvd else None
                self.received += text
                frame = json.loads(text)
                if "closed" in frame:
                    return int(frame["closed"])
                self._fold(frame.get("items", []))
                self.is_live |= frame.get("upToDate", False)
        return None

    def _read_feed(self) -> int | str | None:
        headers = {"Cookie": self._cookie} | ({"Authorization": self._token} if self._token else {})
        offset = "-1"
        with httpx.Client(base_url=self._address, headers=headers, timeout=5) as http:
            while not self._stopped:
                asked = {"offset": offset, "live": self._surface}
                with http.stream("GET", FEED, params=asked) as answer:
                    if answer.status_code == 410:
                        offset, self.state = "-1", {}
                        continue
                    if answer.status_code not in (200, 204):
                        return answer.status_code
                    offset = answer.headers.get("Stream-Next-Offset", offset)
                    is_closed = answer.headers.get("Stream-Closed") == "true"
                    for text in answer.iter_lines():
                        self.received += text
                        if not text.startswith(("[", "data:")):
                            continue
                        found = json.loads(text.removeprefix("data:"))
                        if isinstance(found, list):
                            self._fold(found)
                        else:
                            offset = found["streamNextOffset"]
                            is_closed = found.get("streamClosed", False)
                            self.is_live |= found.get("upToDate", False)
                        if self._stopped:
                            return None
                    self.is_live |= answer.headers.get("Stream-Up-To-Date") == "true"
                    if is_closed:
                        return "closed"
        return None

    def _fold(self, items: list[dict[str, Any]]) -> None:
        for item in items:
            headers = item["headers"]
            if headers.get("control") == "snapshot-start":
                self.state.clear()
            elif headers.get("operation") == "delete":
                self.state.pop(item["key"], None)
            elif "value" in item:
                self.state[item["key"]] = item["value"]["text"]


@pytest.fixture
def crowd(
    make_user: Any, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., list[Reader]]]:
    """Starts a reader of each surface, and waits until they have what there is."""
    configure(
        POLICY=f"{__name__}.Rules",
        WEBSOCKET_AUTHENTICATION=f"{__name__}.by_token",
        FEED_POLL_SECONDS=0.05,
    )
    for module, name in ((renewal, "RENEW_SECONDS"), (live, "RENEW_SECONDS")):
        monkeypatch.setattr(module, name, 0.1)
    monkeypatch.setattr(heart, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(live, "LONG_POLL_SECONDS", 0.5)
    monkeypatch.setattr(Rules, "narrows", False)
    monkeypatch.setattr(Tokens, "are_revoked", False)
    monkeypatch.setattr(Tokens, "lifetime", 1000)
    ada = make_user("app.view_message")
    browser = Browser()
    browser.force_login(ada)
    cookie = f"sessionid={browser.cookies['sessionid'].value}"
    websockets = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))  # type: ignore[arg-type]
    routes = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": websockets})
    readers: list[Reader] = []

    def gather(*, by_token: bool = False) -> list[Reader]:
        token = SIGNER.sign(str(ada.pk)) if by_token else ""
        if by_token:
            monkeypatch.setattr(FeedView, "authentication_classes", [Tokens])
        for surface in SURFACES:
            readers.append(Reader(surface, address, "" if by_token else cookie, token))
            readers[-1].start()
        wait_until(lambda: all(each.is_live and "m" in each.state for each in readers), readers)
        return readers

    with serving(routes) as address:
        yield gather
        for each in readers:
            each.stop()


def wait_until(done: Callable[[], bool], readers: list[Reader]) -> None:
    """Waits for it, some seconds at most."""
    deadline = time.monotonic() + 10
    while not done():
        told = [(each._surface, each.refused, each.state, each.is_live) for each in readers]
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def expire_tokens() -> None:
    """Tokens made until now are too old from now on."""
    Tokens.lifetime = 0


def revoke_tokens() -> None:
    """All of them."""
    Tokens.are_revoked = True


SIGNED_OUT = {4401, 401, 403}
"""REST framework answers 403 where its first class of authentication asks for nothing."""
FORBIDDEN = {4401, 4403, 401, 403, 404}
"""Sockets may learn first of the sign-in, or of the permission."""
GONE = {4404, 404}


@pytest.mark.parametrize(
    ("end", "refusals", "by_token"),
    [
        (lambda: Session.objects.all().delete(), SIGNED_OUT, False),
        (lambda: User.objects.update(is_active=False), FORBIDDEN, False),
        (lambda: User.objects.get().user_permissions.clear(), {4403, 404}, False),
        (revoke_tokens, SIGNED_OUT, True),
        (expire_tokens, SIGNED_OUT, True),
        (lambda: Stream.objects.all().delete(), GONE, False),
        (lambda: Stream.objects.update(name="other"), GONE, False),
    ],
    ids=["session", "inactive", "permission", "revoked", "expired", "deleted", "renamed"],
)
def test_who_may_no_longer_read_is_refused(
    end: Callable[[], Any], refusals: set[int], by_token: bool, crowd: Callable[..., list[Reader]]
) -> None:
    """Within a moment, and what is committed afterwards is not sent."""
    stream = make_stream()
    commit(stream, {("message", "m"): message("shown", 1)})
    readers = crowd(by_token=by_token)
    end()
    wait_until(lambda: all(each.refused is not None for each in readers), readers)
    assert {each.refused for each in readers} <= refusals
    if Stream.objects.exists():
        commit(stream, {("message", "m"): message("secret", 20)})
    for each in readers:
        each.stop()
        assert "secret" not in each.received


def test_what_the_policy_takes_away_goes(crowd: Callable[..., list[Reader]]) -> None:
    """It is deleted, later changes of it are not sent, and the rest goes on."""
    stream = make_stream()
    commit(stream, {("message", "m"): message("shown", 1), ("message", "p"): message("one", 20)})
    readers = crowd()
    Rules.narrows = True
    wait_until(lambda: all(each.state == {"p": "one"} for each in readers), readers)
    commit(stream, {("message", "m"): message("secret", 2), ("message", "p"): message("two", 20)})
    wait_until(lambda: all(each.state == {"p": "two"} for each in readers), readers)
    assert not any("secret" in each.received for each in readers)


@pytest.mark.parametrize("status", ["paused", Status.CLOSED])
def test_a_stream_that_stands_still_is_read_on(
    status: str, crowd: Callable[..., list[Reader]]
) -> None:
    """Of a closed one, the protocol's readers are told the end; sockets stay for parked changes."""
    stream = make_stream()
    commit(stream, {("message", "m"): message("shown", 1)})
    readers = crowd()
    if status == "paused":
        Stream.objects.update(paused=True)
    else:
        Stream.objects.update(status=status)
        wait_until(lambda: all(each.refused == "closed" for each in readers[2:]), readers)
    commit(
        stream,
        {("message", "m"): message("late", 1)},
        status=status if status != "paused" else None,
    )
    going_on = readers if status == "paused" else readers[:2]
    wait_until(lambda: all(each.state == {"m": "late"} for each in going_on), readers)
    assert all(each.refused is None for each in going_on)
    connections.close_all()
