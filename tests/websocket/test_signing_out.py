"""A socket outlives neither its session nor its token."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.test import Client as Browser
from django.utils import timezone

from durable_state.sign_in import SignIn, ended, sign_in_of
from durable_state.websocket import heart
from tests.feed.support.commits import commit_and_ring, make_stream

from .support.many import ManyStreams
from .support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "correct horse"
STORES = [
    "django.contrib.sessions.backends.db",
    "django.contrib.sessions.backends.cached_db",
    "django.contrib.sessions.backends.cache",
    "django.contrib.sessions.backends.file",
]


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heart, "LOOK_SECONDS", 0.05)


def signed_in(user: User) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


def stored(browser: Browser) -> Any:
    """The session as the server stores it."""
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    return store(browser.cookies["sessionid"].value)


@pytest.mark.parametrize("path", ["/ws/state/chat/", "/ws/state/"])
async def test_signing_out_closes_the_sockets_of_that_session(
    path: str, make_user: Any, as_user: Any, looks_often: None
) -> None:
    """4401; another session of the same user goes on."""
    await sync_to_async(make_stream)()
    user = await sync_to_async(make_user)(superuser=True)
    application: Any = AuthMiddlewareStack(as_user(None))
    browsers = [await sync_to_async(signed_in)(user) for _ in range(2)]
    sockets: list[Socket] = []
    for browser in browsers:
        cookie = f"sessionid={browser.cookies['sessionid'].value}".encode()
        sockets.append(Socket(application, path, [(b"cookie", cookie)]))
        assert await sockets[-1].connect() is None
        await sockets[-1].receive_text()
    await sync_to_async(browsers[0].logout)()
    assert await sockets[0].close_code() == 4401
    while not await sockets[1].receive_nothing(0.2):
        assert (await sockets[1].receive_output(1))["type"] == "websocket.send"
    await sockets[1].disconnect()


@pytest.mark.parametrize("engine", STORES)
def test_what_ends_a_sign_in(engine: str, make_user: Any, settings: Any, tmp_path: Any) -> None:
    """Signing out, a new password, a user who is gone or inactive; whatever the session backend."""
    settings.SESSION_ENGINE = engine
    settings.SESSION_FILE_PATH = str(tmp_path)
    users = [make_user(name=name) for name in ("stays", "leaves", "new", "gone", "inactive")]
    browsers = [signed_in(user) for user in users]
    found = {sign_in_of(stored(browser)) for browser in browsers}
    sign_ins: set[SignIn] = {each for each in found if each is not None}
    assert len(sign_ins) == 5
    assert ended(sign_ins) == set()
    browsers[1].logout()
    users[2].set_password(PASSWORD)
    users[2].save()
    users[3].delete()
    User.objects.filter(username="inactive").update(is_active=False)
    (left,) = sign_ins - ended(sign_ins)
    assert left.user == str(users[0].pk)


def test_a_session_expires(make_user: Any, django_assert_num_queries: Any) -> None:
    """Without anybody's action; many are checked in two queries."""
    from django.contrib.sessions.models import Session

    browsers = [signed_in(make_user(name=name)) for name in ("a", "b")]
    sign_ins = {each for each in map(sign_in_of, map(stored, browsers)) if each is not None}
    key = browsers[0].cookies["sessionid"].value
    Session.objects.filter(session_key=key).update(expire_date=timezone.now())
    with django_assert_num_queries(2):
        assert {each.session_key for each in ended(sign_ins)} == {key}


def test_who_is_not_signed_in_has_nothing_to_end() -> None:
    """Nor has a socket without sessions."""
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    assert sign_in_of(None) is sign_in_of(store()) is None


valid: set[str] = set()
"""The tokens that the hooks below accept."""


def by_token(scope: Any) -> Any:
    """A project's hook: the second subprotocol is the user's token."""
    offered = scope["subprotocols"]
    if len(offered) < 2:
        return None
    if offered[1] == "raises":
        raise ZeroDivisionError
    if offered[1] == "denied":
        raise PermissionDenied
    return User.objects.get() if offered[1] in valid else AnonymousUser()


async def by_token_async(scope: Any) -> Any:
    """The same, awaited."""
    return await sync_to_async(by_token)(scope)


@pytest.mark.parametrize("hook", ["by_token", "by_token_async"])
async def test_a_token_in_the_subprotocols(
    hook: str, make_user: Any, as_user: Any, configure: Callable[..., None], looks_often: None
) -> None:
    """It identifies the user as long as it is valid, and the handshake is answered with its
    name.
    """
    configure(WEBSOCKET_AUTHENTICATION=f"{__name__}.{hook}")
    await commit_and_ring(await sync_to_async(make_stream)(), {("setting", "s"): 1})
    await sync_to_async(make_user)(superuser=True)
    valid.add("secret")
    socket = ManyStreams(as_user(None), subprotocols=["jwt", "secret"])
    assert await socket.connect() is None
    assert socket.subprotocol == "jwt"
    await socket.ask(subscribe="chat")
    await socket.until_live("chat")
    valid.clear()
    assert await socket.close_code() == 4401


async def test_an_authentication_that_fails_meanwhile_says_nothing_of_the_token(
    make_user: Any, as_user: Any, configure: Callable[..., None], looks_often: None
) -> None:
    """1011, after which clients come back: 4401 would make them give up while, say, the database
    is restarted.
    """
    configure(WEBSOCKET_AUTHENTICATION=f"{__name__}.by_token")
    await sync_to_async(make_user)(superuser=True)
    valid.add("secret")
    socket = ManyStreams(as_user(None), subprotocols=["jwt", "secret"])
    assert await socket.connect() is None
    assert await socket.read() == {"heartbeat": heart.HEARTBEAT_SECONDS}
    await User.objects.all().adelete()  # which the hook does not expect
    assert await socket.close_code() == 1011
    valid.clear()


@pytest.mark.parametrize(
    ("token", "code"), [("denied", 4401), ("raises", 1011), ("wrong", 4401), ("", 4401)]
)
async def test_a_token_that_is_not_valid(
    token: str, code: int, make_user: Any, as_user: Any, configure: Callable[..., None]
) -> None:
    """The reason why it fails is not told."""
    configure(WEBSOCKET_AUTHENTICATION=f"{__name__}.by_token")
    await sync_to_async(make_user)(superuser=True)
    socket = Socket(as_user(None), "/ws/state/chat/", subprotocols=["jwt", token])
    assert await socket.connect() is None
    assert await socket.close_code() == code


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["jwt", "token"], "jwt"),
        (["token"], "token"),
        (["token", "durable-state"], "durable-state"),
    ],
)
async def test_some_subprotocol_is_chosen(
    offered: list[str], chosen: str | None, as_user: Any
) -> None:
    """Otherwise a browser closes the socket, with 1006."""
    socket = Socket(as_user(None), "/ws/state/", subprotocols=offered)
    await socket.connect()
    assert socket.subprotocol == chosen
    await socket.disconnect()
