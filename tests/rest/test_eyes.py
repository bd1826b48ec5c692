"""What REST shows of letters and errors to users with few rights."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from rest_framework.test import APIClient

from durable_state import EntityMapping, StatePolicy, register
from durable_state.models import DeadLetter, ParkedChange, Status, Stream
from durable_state.policy import Insight, readable_rows, readable_values
from durable_state.registry import registry
from durable_state.testing import apply
from tests.app.models import Author, Message, Person, Room
from tests.wire import change

pytestmark = pytest.mark.django_db

ROOT = "/api/state/streams/"
LETTERS = "durable_state.view_deadletter"


class PopularMessages(StatePolicy):
    """Shows messages with more than ten likes, all settings, and nothing of other models."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if queryset.model is Message:
            return queryset.filter(likes__gt=10)
        return queryset if queryset.model._meta.model_name == "setting" else queryset.none()


class Broken(StatePolicy):
    """Fails for every model but one."""

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(likes__gt=0)


@pytest.fixture
def api(make_user: Any) -> Any:
    """A client signed in as a new user with some permissions ("app.view_message")."""
    names = (f"user{n}" for n in itertools.count())

    def signed_in(*permissions: str, superuser: bool = False) -> APIClient:
        client = APIClient()
        client.force_login(make_user(*permissions, name=next(names), superuser=superuser))
        return client

    return signed_in


def letters(client: APIClient, name: str = "chat", query: str = "") -> list[dict[str, Any]]:
    """The shown dead letters."""
    answer = client.get(f"{ROOT}{name}/dead-letters/{query}")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_letters_show_type_ordinal_and_reason_to_who_sees_no_row(api: Any) -> None:
    """The stream is readable by another model's permission, or by that of all streams."""
    apply("chat", [change("message", "hidden-key", text="x", likes="hidden-text")])
    for permission in ("app.view_setting", "durable_state.view_stream"):
        (letter,) = letters(api(permission, LETTERS))
        assert (letter["type"], letter["ordinal"], letter["reason"]) == ("message", 1, "type")
        assert letter["key"] is letter["detail"] is letter["message"] is None
    for query in ("?search=hidden", "?key=hidden-key", "?ordering=-id", "?fields=key"):
        assert "hidden-" not in str(letters(api("app.view_setting", LETTERS), query=query))
    (letter,) = letters(api("app.view_message", LETTERS))
    assert letter["key"] == "hidden-key"
    assert "hidden-text" in letter["message"]
    assert "hidden-text" in letter["detail"]


def test_of_narrowed_rows_the_visible_ones_letters_are_shown(api: Any, settings: Any) -> None:
    """By page, whatever its size."""
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.PopularMessages"}
    apply("chat", [change("message", f"k{n}", text="x", likes=n) for n in range(20)])
    refused = [change("message", f"k{n}", text=f"text-k{n}-" + "x" * 50) for n in range(25)]
    apply("chat", refused)
    found = letters(api(LETTERS), query="?limit=50")
    assert len(found) == 25
    assert [each["key"] for each in found if each["key"] is not None] == [
        f"k{n}" for n in range(11, 20)
    ]
    assert all(f"text-{each['key']}-" in each["message"] for each in found if each["key"])


def test_a_setting_whose_rows_are_all_seen_needs_no_row(api: Any, settings: Any) -> None:
    """Users who see all rows of a type see the letters of all its entities."""
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.PopularMessages"}
    apply("chat", [{"type": "setting", "key": "k" * 50, "headers": {"operation": "insert"}}])
    (letter,) = letters(api(LETTERS))
    assert letter["key"] == "k" * 50


def test_errors_are_whole_for_those_who_see_the_rows(api: Any) -> None:
    """In the list, for one stream, and in its health."""
    Stream.objects.create(
        name="chat",
        url="http://localhost/s",
        status=Status.HALTED,
        last_error="It failed.",
        last_error_detail="It was 'hidden-key'.",
        last_error_type="message",
    )
    for client, sees in (
        (api("durable_state.view_stream"), False),
        (api("app.view_setting"), False),
        (api("app.view_message"), True),
        (api(superuser=True), True),
    ):
        for path in (ROOT, f"{ROOT}chat/", "/api/state/health/"):
            text = client.get(path).content.decode()
            assert "It failed." in text
            assert ("hidden-key" in text) == sees


def test_an_error_of_no_known_type_is_for_those_who_see_all(api: Any) -> None:
    """A database may quote any row of the batch."""
    Stream.objects.create(name="chat", url="http://localhost/s", last_error_detail="hidden-key")
    assert "hidden-key" not in api("app.view_message").get(f"{ROOT}chat/").content.decode()
    assert "hidden-key" in api(superuser=True).get(f"{ROOT}chat/").content.decode()


def test_a_policy_that_fails_hides_the_values(
    api: Any, make_user: Any, settings: Any, caplog: Any
) -> None:
    """And it does not make the page fail for an operator."""
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.Broken"}
    apply("chat", [change("score", "1", points=-1), b"[]"])
    stream = Stream.objects.get()
    root = make_user(name="root", superuser=True)
    assert not Insight(root, stream).sees_all("score")
    assert not Insight(root, stream).sees_all()
    assert readable_values(root, DeadLetter.objects.all()) == set()
    assert "the policy fails for rows of app.score" in caplog.text


def test_parked_changes_of_rows_that_are_seen(make_user: Any, settings: Any) -> None:
    """One entity has a visible row, the other a hidden one."""
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.Rooms"}
    for name in ("mine", "other"):
        Room.objects.create(title=name, stream=Stream.objects.create(name=name, url="http://h/s"))
        apply(name, [change("person", "p", email=f"{name}@h")])
        apply(name, [change("person", "q", email="q@mine" if name == "mine" else "mine@h")])
    assert ParkedChange.objects.count() == 1
    user = make_user()
    assert readable_values(user, ParkedChange.objects.all()) == set()
    root = make_user(name="root", superuser=True)
    assert len(readable_values(root, ParkedChange.objects.all())) == 1


class Rooms(StatePolicy):
    """Persons of the room "mine"; superusers see all."""

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if user.is_superuser:
            return queryset
        return queryset.filter(room__title="mine") if queryset.model is Person else queryset.none()


def test_where_nothing_is_mapped_superusers_alone_read_the_letters(make_user: Any) -> None:
    """No rule says who may see anything."""
    registry.clear()
    apply("chat", [b"[]"])
    found = DeadLetter.objects.all()
    assert readable_values(make_user("durable_state.view_stream"), found) == set()
    assert len(readable_values(make_user(name="root", superuser=True), found)) == 1


def test_a_readable_row_is_of_a_readable_stream(
    make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapping for some streams opens only these, and rows without a stream field follow the
    table's owner.
    """
    registry.clear()

    @register("remark")
    class Remarks(EntityMapping):
        model = Message
        key_field = "key"
        stream_field = "room"
        fields = ["text"]
        streams = ["chat-*"]

    @register("author")
    class Authors(EntityMapping):
        model = Author
        key_field = "key"
        fields = ["commits"]
        streams = ["git"]

    apply("git", [change("author", "a", commits=1)])
    apply("chat-1", [change("remark", "r", text="x")])
    user = make_user("app.view_message")
    assert list(readable_rows(user, Message.objects.all())) == list(Message.objects.all())
    assert not readable_rows(user, Author.objects.all()).exists()
    assert readable_rows(make_user("app.view_author", name="b"), Author.objects.all()).exists()
    Message.objects.create(room="gone", key="r", text="x")
    assert readable_rows(user, Message.objects.all()).count() == 1
    monkeypatch.setattr("durable_state.registry.scope._NAMES", 0)  # as for very many streams
    assert readable_rows(user, Message.objects.all()).count() == 1


def test_the_rule_is_the_same_on_every_database(database: str, settings: Any) -> None:
    """Which rows, letters and parked changes are readable is asked of the stream's own database."""
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.SomeRooms"}
    for name in ("seen-1", "other"):
        stream = Stream.objects.using(database).create(name=name, url="http://h/s")
        Room.objects.using(database).create(title=name, stream=stream)
        refused = {"text": "x", "likes": "refused"}
        apply(name, [change("message", "a", text="x", likes=20)], using=database)
        apply(name, [change("message", "b", text="x", likes=2)], using=database)
        apply(name, [change("message", key, **refused) for key in "abc"], using=database)
        apply(name, [change("person", f"{name}-p", boss=None, email=f"{name}@h")], using=database)
    user, using = AnonymousUser(), Stream.objects.using(database)
    rows = readable_rows(user, Message.objects.using(database))
    assert set(rows.values_list("room", "key")) == {("seen-1", "a")}
    people = readable_rows(user, Person.objects.using(database))
    assert set(people.values_list("key", flat=True)) == {"seen-1-p"}
    letters = DeadLetter.objects.using(database).filter(stream=using.get(name="seen-1"))
    readable = readable_values(user, letters.select_related("stream"))
    assert {each.key for each in letters if each.pk in readable} == {"a"}


class SomeRooms(StatePolicy):
    """Streams with the word in their names, of these popular messages, and all persons."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        return Stream.objects.filter(name__startswith="seen")

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(likes__gt=10) if queryset.model is Message else queryset
