"""Whatever a project attaches to a user, such as a token's scopes, stays while the socket is
open, and is shared with nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet
from django.utils.functional import SimpleLazyObject

from durable_state import StatePolicy
from durable_state.feed import renewal
from durable_state.models import Stream
from durable_state.users import identity_of, user_now
from tests.app.models import Message
from tests.feed.support.commits import commit_and_ring, make_stream, message

from .support.many import ManyStreams

pytestmark = pytest.mark.django_db(transaction=True)


class ByScope(StatePolicy):
    """A token names the message that it may read."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if queryset.model is not Message:
            return queryset.none()
        return queryset.filter(key=user.scope)


def by_scope(scope: Any) -> Any:
    """The second subprotocol is a token, and says what it allows."""
    user: Any = User.objects.filter(username="ada").first() or AnonymousUser()
    user.scope = scope["subprotocols"][1]
    return user


@pytest.mark.parametrize("is_known", [True, False])
async def test_each_token_sees_its_own(
    is_known: bool,
    make_user: Any,
    as_user: Any,
    configure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At first, after a commit, and after the policy was asked again; for one user, and for
    none.
    """
    monkeypatch.setattr(renewal, "RENEW_SECONDS", 0.1)
    configure(POLICY=f"{__name__}.ByScope", WEBSOCKET_AUTHENTICATION=f"{__name__}.by_scope")
    if is_known:
        await sync_to_async(make_user)(name="ada")
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", key): message("old", 1) for key in "ab"})

    sockets = {key: ManyStreams(as_user(None), subprotocols=["jwt", key]) for key in "ab"}
    for socket in sockets.values():
        await socket.connect()
        await socket.ask(subscribe="chat")
        await socket.until_live("chat")
    for text in ("new", "newest"):
        await commit_and_ring(stream, {("message", key): message(text, 1) for key in "ab"})
        for key, socket in sockets.items():
            client = socket.clients["chat"]
            name = ("message", key)
            await socket.until(lambda _: client.state[name]["text"] == text)  # noqa: B023
            assert client.mentioned == {name}
        await asyncio.sleep(0.5)  # a few renewals
    for socket in sockets.values():
        await socket.disconnect()


def test_users_are_alike_with_the_same_attached() -> None:
    """And only then; users that cannot be compared are never alike."""
    user, same = User.objects.create(username="ada"), User.objects.get()
    lazy = SimpleLazyObject(lambda: same)
    assert identity_of(user) == identity_of(same) == identity_of(lazy) is not None
    same.scopes = ["read"]  # type: ignore[attr-defined]
    assert identity_of(lazy) == identity_of(same) != identity_of(user)
    same.scopes = {"read"}  # type: ignore[attr-defined]
    assert identity_of(same) is None
    assert identity_of(object()) is None
    assert identity_of(AnonymousUser()) == identity_of(AnonymousUser()) is not None


def test_a_user_is_read_again_with_what_is_attached() -> None:
    """Its permissions are read again; a deleted one is anonymous."""
    user: Any = User.objects.create(username="ada", is_superuser=True)
    user.scopes = ["read"]
    assert user.has_perm("app.view_message")
    User.objects.update(is_superuser=False)
    now = user_now(SimpleLazyObject(lambda: user))
    assert (now.scopes, now.has_perm("app.view_message")) == (["read"], False)
    User.objects.all().delete()
    assert not user_now(user).is_authenticated
    assert user_now(None) is None
