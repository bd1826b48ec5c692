"""Users who see only some fields of a type see the others nowhere."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.test import Client as Browser
from rest_framework.test import APIClient

from durable_state import StatePolicy
from durable_state.errors import ConfigurationError
from durable_state.feed import Audience
from durable_state.models import DeadLetter, ParkedChange, Stream
from durable_state.policy import Insight, audience_of, hidden_columns, readable_values
from durable_state.testing import apply
from tests.app.models import Message, Setting
from tests.feed.support.commits import commit_and_ring, make_stream, message
from tests.feed.support.following import follow
from tests.wire import change

pytestmark = pytest.mark.django_db


class Names(StatePolicy):
    """Superusers see all; others see the text of messages, and only the keys of settings."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset

    def fields(self, user: Any, type: str) -> Collection[str] | None:
        if user.is_superuser:
            return None
        return {"message": ["text"], "setting": []}.get(type)


class Spelled(Names):
    """Returns a text instead of names."""

    def fields(self, user: Any, type: str) -> Collection[str] | None:
        return "text"


@pytest.fixture(autouse=True)
def by_names(configure: Any) -> None:
    """The policy of these tests."""
    configure(POLICY=f"{__name__}.Names")


def seen(stream: Stream) -> Audience:
    return audience_of(AnonymousUser(), stream)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("value_rows", [100, 0])
async def test_frames_lack_them(value_rows: int, configure: Any) -> None:
    """In the snapshot, live with the log's values, and live with the rows'; also when resuming."""
    configure(FEED_VALUE_ROWS=value_rows)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("message", "a"): message("one", 7), ("setting", "s"): {"x": 1}})
    async with follow(stream, audience=lambda: seen(stream)) as follower:
        client = await follower.until_revision(1)
        assert client.state == {("message", "a"): {"text": "one"}, ("setting", "s"): {}}
        await commit_and_ring(stream, {("message", "a"): message("two", 8), ("setting", "s"): [1]})
        await follower.until_revision(2)
        assert client.state == {("message", "a"): {"text": "two"}, ("setting", "s"): None}
    async with follow(
        stream, client.offset, client=client, audience=lambda: seen(stream)
    ) as follower:
        await commit_and_ring(stream, {("message", "b"): message("three", 9)})
        await follower.until_revision(3)
    assert client.snapshots == 1
    assert client.state["message", "b"] == {"text": "three"}


def test_frames_are_shared_among_those_who_see_the_same_fields(make_user: Any) -> None:
    """No key in a request produces another's signature."""
    stream, root = make_stream(), make_user(superuser=True)
    signature = seen(stream).signature
    assert audience_of(make_user(name="other"), stream).signature == signature
    assert audience_of(root, stream).signature != signature
    asked = [("a",), ("b",), ("a", "b"), ("a\1b",), ("a', 'b",), ("\ud800",)]
    signatures = {audience_of(root, stream, keys=keys).signature for keys in asked}
    assert len(signatures) == len(asked)


def test_rest_lacks_them(make_user: Any) -> None:
    """In the list, of one entity, and in the feed."""
    apply("chat", [change("message", "a", text="one", likes=7)])
    path = "/api/state/streams/chat/entities/message/"
    client = APIClient()
    client.force_login(make_user())
    (listed,) = client.get(path).json()["results"]
    assert listed["value"] == client.get(f"{path}?key=a").json()["value"] == {"text": "one"}
    fed = client.get("/api/state/streams/chat/feed/?offset=-1&type=message").json()
    assert [each["value"] for each in fed if "value" in each] == [{"text": "one"}]
    client.force_login(make_user(superuser=True, name="root"))
    assert client.get(f"{path}?key=a").json()["value"]["likes"] == 7


def test_letters_and_parked_changes_have_messages_whole_and_are_hidden(make_user: Any) -> None:
    """Even for visible rows; types whose fields are all visible are not affected."""
    apply("chat", [change("message", "a", text="one"), change("author", "b", commits=1)])
    apply(
        "chat", [change("message", "a", text="one", likes="x"), change("author", "b", commits="x")]
    )
    apply("chat", [change("commit", "c", author="missing", subject="s", authored_at="2026-01-01")])
    stream, user, root = Stream.objects.get(), make_user(), make_user(superuser=True, name="root")
    kept = DeadLetter.objects.all()
    assert [each.type for each in kept if each.pk in readable_values(user, kept)] == ["author"]
    assert len(readable_values(root, kept)) == 2
    assert len(readable_values(user, ParkedChange.objects.all())) == ParkedChange.objects.count()
    assert not Insight(user, stream).sees_all("message")
    assert not Insight(user, stream).sees_all()
    assert Insight(user, stream).entities("message", ["a"]) == set()


@pytest.mark.urls("tests.admin.support.urls")
def test_the_admin_lacks_them(make_user: Any, admin_client: Browser) -> None:
    """Lists, pages, filters and searches alike."""
    apply("chat", [change("message", "a", text="one", likes=774411)])
    row = Message.objects.get()
    user = make_user("app.view_message", "app.change_message")
    user.is_staff = True
    user.save()
    browser = Browser()
    browser.force_login(user)
    paths = ["/admin/app/message/", f"/admin/app/message/{row.pk}/change/"]
    for path in paths:
        assert "774411" not in browser.get(path).content.decode()
    assert "774411" in admin_client.get(paths[1]).content.decode()
    assert hidden_columns(user, Message) == {"likes", "edited"}
    assert hidden_columns(user, Setting) == {"data"}
    found = browser.get("/admin/app/message/?likes=774411")
    assert found.status_code in (302, 400)


def test_a_text_where_names_are_wanted(configure: Any) -> None:
    """It would be revealed letter by letter."""
    configure(POLICY=f"{__name__}.Spelled")
    with pytest.raises(ConfigurationError, match="gives the text 'text'"):
        seen(make_stream())
