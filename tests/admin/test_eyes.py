"""Users with few rights: values are shown to those who may see the row, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.test import Client

from durable_state import EntityMapping, StatePolicy, register
from durable_state.consumer.run import sync
from durable_state.models import DeadLetter, Intent, ParkedChange, Status, Stream
from durable_state.registry import registry
from durable_state.testing import apply
from tests.app.models import Annotation, Author, Commit, Message, Person, Profile, Room
from tests.management.support.publishing import publish
from tests.servers.process import StreamServer
from tests.wire import change

from .support.verifying import verify_as_a_worker
from .support.visitors import SignIn

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.support.urls")]

STREAMS = "/admin/durable_state/stream/"
LETTERS = "/admin/durable_state/deadletter/"
PARKED = "/admin/durable_state/parkedchange/"
OPERATOR = [
    f"durable_state.{action}_{model}"
    for action in ("view", "change")
    for model in ("stream", "deadletter", "parkedchange", "intent")
]


class PopularMessages(StatePolicy):
    """Messages with more than ten likes; nothing of other models."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(likes__gt=10) if queryset.model is Message else queryset.none()


class OwnRooms(StatePolicy):
    """docs/reference/live.md: everybody reads the streams named after them, and all rows."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        return super().streams(user).filter(name__startswith=f"user-{user.pk}-")

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


def refused(key: str, text: str = "hidden-text") -> dict[str, Any]:
    """A change of a message that becomes a dead letter whose detail quotes the text."""
    return change("message", key, text="x", likes=text)


def page(client: Client, path: str, **query: str) -> str:
    """The text of a page."""
    answer = client.get(path, query)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def confirm(client: Client, action: str, *letters: DeadLetter) -> str:
    """The confirmation page."""
    selected = [each.pk for each in letters]
    answer = client.post(LETTERS, {"action": action, "_selected_action": selected})
    return answer.content.decode()


def test_an_operator_without_the_models_permission_sees_no_value(sign_in: SignIn) -> None:
    """Type, ordinal and reason stay visible: in the list, on the page, on the confirmation page,
    in the audit trail.
    """
    apply("chat", [refused("hidden-key")])
    letter = DeadLetter.objects.get()
    client = sign_in(*OPERATOR)
    pages = [
        page(client, LETTERS),
        page(client, f"{LETTERS}{letter.pk}/change/"),
        confirm(client, "discard", letter),
        confirm(client, "retry", letter),
    ]
    for each in pages:
        assert "message" in each
        assert "type" in each
        assert "hidden-" not in each
    act = {"action": "discard", "_selected_action": letter.pk, "confirmed": "yes"}
    assert "Discarded 1." in client.post(LETTERS, act, follow=True).content.decode()
    Intent.objects.create(stream_name="chat", verb="x", actor="ada", detail=str(letter))
    assert "hidden-" not in page(client, "/admin/durable_state/intent/")
    assert not DeadLetter.objects.exists()


def test_who_sees_the_rows_sees_the_letters(sign_in: SignIn) -> None:
    """With the model's view permission as well."""
    apply("chat", [refused("some-key", "some-text")])
    client = sign_in(*OPERATOR, "app.view_message")
    assert "some-key" in page(client, LETTERS)
    shown = page(client, f"{LETTERS}{DeadLetter.objects.get().pk}/change/")
    assert "some-key" in shown
    assert shown.count("some-text") > 1  # in the detail and in the message


def test_of_narrowed_rows_only_the_visible_ones_have_letters_with_values(
    sign_in: SignIn, settings: Any
) -> None:
    """A letter without a row does not say where its row would be, so it stays hidden."""
    apply("chat", [change("message", "seen", text="x", likes=20)])
    apply("chat", [change("message", "hidden-key", text="x", likes=2)])
    apply("chat", [refused("seen", "seen-text"), refused("hidden-key"), refused("hidden-new")])
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.PopularMessages"}
    client = sign_in(*OPERATOR)
    listed = page(client, LETTERS)
    assert listed.count("hidden: you do not see the row") >= 2
    assert "seen-text" in listed
    assert "hidden-" not in listed
    for letter in DeadLetter.objects.all():
        shown = page(client, f"{LETTERS}{letter.pk}/change/")
        assert ("seen-text" in shown) == (letter.key == "seen")
        assert "hidden-" not in shown


def test_a_key_that_looks_like_a_visible_one_is_not_taken_for_it(
    sign_in: SignIn, settings: Any
) -> None:
    """Unprintable text is stored escaped; another entity's name may be just that text."""
    apply("chat", [change("message", "a\\0", text="x", likes=20), refused("a\0")])
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.PopularMessages"}
    letter = DeadLetter.objects.get()
    assert letter.key == "a\\0"
    assert "hidden-text" not in page(sign_in(*OPERATOR), f"{LETTERS}{letter.pk}/change/")


@pytest.mark.parametrize("body", [b'{"type": "x", "secret": "hidden-text"}', b'["hidden-text"]'])
def test_what_names_no_known_type_is_for_those_who_see_all(
    sign_in: SignIn, admin_client: Client, body: bytes
) -> None:
    """Nobody can tell whose values these are."""
    apply("chat", [body])
    path = f"{LETTERS}{DeadLetter.objects.get().pk}/change/"
    assert "hidden-text" not in page(sign_in(*OPERATOR, "app.view_message"), path)
    assert "hidden-text" in page(admin_client, path)


def test_parked_changes_follow_the_same_rule(sign_in: SignIn, admin_client: Client) -> None:
    """Its key, what it waits for, and its prepared values."""
    commit = {"author": "hidden-author", "subject": "hidden-s", "authored_at": "2026-01-01T00:00Z"}
    apply("git", [change("commit", "hidden-key", **commit)])
    parked = ParkedChange.objects.get()
    client = sign_in(*OPERATOR)
    for path in (PARKED, f"{PARKED}{parked.pk}/change/"):
        assert "commit" in page(client, path)
        assert "hidden-" not in page(client, path)
        assert "hidden-key" in page(admin_client, path)
        assert "hidden-author" in page(admin_client, path)


def test_a_search_tells_nothing_of_hidden_values(sign_in: SignIn, admin_client: Client) -> None:
    """Whole or letter by letter: users who may not read them find rows by type and reason only."""
    apply("chat", [refused("hidden-key")])
    client = sign_in(*OPERATOR)
    for word in ("hidden-key", "h", "hidden-t"):
        assert "0 dead letters" in page(client, LETTERS, q=f"{word}idden" if word == "h" else word)
        assert "1 dead letter" in page(admin_client, LETTERS, q=word)
    for word in ("message", "type", "mess typ", '"message"'):
        assert "1 dead letter" in page(client, LETTERS, q=word)
    assert "0 dead letters" in page(client, LETTERS, q="message hidden-key")


@pytest.mark.parametrize(
    ("path", "lookup"),
    [
        (LETTERS, "key__startswith"),
        (LETTERS, "detail__regex"),
        (LETTERS, "body__contains"),
        (LETTERS, "entity"),
        (LETTERS, "stream__url__regex"),
        (LETTERS, "stream__last_error_detail__regex"),
        (PARKED, "key"),
        (PARKED, "prepared__contains"),
        (PARKED, "waits_for"),
        (STREAMS, "url__regex"),
        (STREAMS, "url"),
        (STREAMS, "last_error_detail__contains"),
        (STREAMS, "replay__last_error_detail__contains"),
        (STREAMS, "feed__changes__contains"),
        (STREAMS, "dead_letters__key"),
        (STREAMS, "parked_changes__key__startswith"),
        ("/admin/durable_state/intent/", "detail__regex"),
    ],
)
def test_an_address_filters_by_what_the_list_offers_only(
    admin_client: Client, path: str, lookup: str
) -> None:
    """Any other lookup that Django would allow is refused, whether or not it would match."""
    apply("chat", [refused("k")])
    for value in ("^h", "k", "."):
        assert admin_client.get(path, {lookup: value}).status_code == 400


def test_the_filters_that_a_list_offers_work(sign_in: SignIn) -> None:
    """By status, reason, stream and verb."""
    apply("chat", [refused("k")])
    stream = Stream.objects.get()
    client = sign_in(*OPERATOR)
    page(client, STREAMS, status__exact="live", paused__exact="0")
    assert "1 dead letter" in page(client, LETTERS, reason="type", stream__id__exact=str(stream.pk))
    page(client, PARKED, reason__exact="parent", stream__id__exact=str(stream.pk))
    page(client, "/admin/durable_state/intent/", verb="retry")


def test_the_masked_part_of_an_url_cannot_be_searched(sign_in: SignIn) -> None:
    """It is not shown, with a name or without one."""
    Stream.objects.create(name="chat", url="http://localhost/s?SECRET")
    client = sign_in(*OPERATOR)
    assert "chat" in page(client, STREAMS, q="chat")
    for word in ("SECRET", "localhost", "S"):
        assert "chat" not in page(client, STREAMS, q=f"{word}E" if word == "S" else word)
    stream = Stream.objects.get()
    assert "SECRET" not in page(client, f"{STREAMS}{stream.pk}/change/")
    assert "SECRET" not in page(client, STREAMS)
    assert "SECRET" not in client.get(f"{STREAMS}live/", {"pk": stream.pk}).content.decode()


def test_an_errors_detail_is_for_those_who_see_the_rows(sign_in: SignIn) -> None:
    """On the stream's page; the list, its cells and the confirmation show the rest."""
    stream = Stream.objects.create(
        name="chat",
        url="http://localhost/s",
        status=Status.HALTED,
        last_error="The mapping failed.",
        last_error_detail="It was 'hidden-key'.",
        last_error_type="message",
    )
    client = sign_in(*OPERATOR)
    path = f"{STREAMS}{stream.pk}/change/"
    cells = client.get(f"{STREAMS}live/", {"pk": stream.pk}).content.decode()
    asked = client.post(STREAMS, {"action": "resume", "_selected_action": stream.pk})
    for text in (page(client, STREAMS), page(client, path), cells, asked.content.decode()):
        assert "The mapping failed." in text
        assert "hidden-key" not in text
    client.force_login(User.objects.create_superuser("root"))
    assert "hidden-key" in page(client, path)


@pytest.mark.django_db(transaction=True)
def test_a_verification_names_the_keys_of_visible_rows(
    sign_in: SignIn, settings: Any, rakaia_server: StreamServer
) -> None:
    """For others it shows the type and what is wrong."""
    url = rakaia_server.stream("chat")
    for key, likes in (("seen", 20), ("hidden-changed", 2), ("hidden-missing", 20)):
        publish(url, change("message", key, text="x", likes=likes))
    stream = Stream.objects.create(name="chat", url=url)
    sync(stream, until_up_to_date=True)
    Message.objects.update(text="forged")
    Message.objects.filter(key="hidden-missing").delete()
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.PopularMessages"}
    act = {"action": "verify", "_selected_action": stream.pk, "confirmed": "yes"}
    client = sign_in(*OPERATOR)
    client.post(STREAMS, act)
    verify_as_a_worker()
    shown = page(client, f"{STREAMS}{stream.pk}/change/")
    assert "changed: message seen" in shown
    assert shown.count("(you do not see the row)") == 2
    assert "hidden-" not in shown


def test_synced_rows_of_hidden_streams_are_not_there(sign_in: SignIn, settings: Any) -> None:
    """Whichever way the rows name their stream: by name, by foreign key, by an object that
    stands for it.
    """
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.OwnRooms"}
    models = ("message", "profile", "person")
    client = sign_in(
        *(f"app.{action}_{model}" for action in ("view", "change") for model in models)
    )
    ada = User.objects.get()
    for name, key in ((f"user-{ada.pk}-a", "seen"), ("user-0-b", "hidden")):
        stream = Stream.objects.create(name=name, url="http://localhost/s")
        Room.objects.create(title=key, stream=stream)
        changes = [change("message", f"{key}-m", text="x"), change("profile", f"{key}-p")]
        apply(name, [*changes, change("person", f"{key}-n")])
    Message.objects.create(key="seen-own", text="x")
    found: list[tuple[str, Any, Callable[[Any], str]]] = [
        ("message", Message, lambda row: row.key),
        ("profile", Profile, lambda row: row.key),
        ("person", Person, lambda row: row.key),
    ]
    for name, model, key_of in found:
        listed = page(client, f"/admin/app/{name}/")
        assert "hidden-" not in listed
        assert model.objects.filter(key__startswith="hidden").exists()
        for row in model.objects.all():
            answer = client.get(f"/admin/app/{name}/{row.pk}/change/")
            assert answer.status_code == (200 if key_of(row).startswith("seen") else 302)
    assert "seen-own" in page(client, "/admin/app/message/")


def test_a_table_of_a_hidden_stream_is_empty(sign_in: SignIn, settings: Any) -> None:
    """The table belongs to one stream at a time; rows that belong to none are the application's."""
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.OwnRooms"}
    client = sign_in("app.view_author")
    Author.objects.create(key="own-author")
    assert page(client, "/admin/app/author/").count('<th class="field') == 1
    Author.objects.all().delete()
    apply("git", [change("author", "hidden-author", commits=1)])
    row = Author.objects.get()
    assert page(client, "/admin/app/author/").count('<th class="field') == 0
    assert client.get(f"/admin/app/author/{row.pk}/change/").status_code == 302


class NoAuthors(StatePolicy):
    """Everybody sees commits, nobody sees authors."""

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.none() if queryset.model is Author else queryset


def test_a_filter_offers_no_hidden_parent(admin_client: Client, settings: Any) -> None:
    """A form does not offer one, or accept one by its number; users who may see them are offered
    all.
    """
    made = {"subject": "s", "authored_at": "2026-01-01T00:00Z"}
    for name in ("one", "two"):
        apply("git", [change("author", name, commits=1)])
        apply("git", [change("commit", f"c-{name}", author=name, **made)])
    assert Commit.objects.count() == 2
    form, offered = "/admin/app/annotation/add/", "author__id__exact="
    author = Author.objects.first()
    assert author is not None
    option = f'<option value="{author.pk}"'
    assert offered in page(admin_client, "/admin/app/commit/")
    assert option in page(admin_client, form)
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.NoAuthors"}
    assert offered not in page(admin_client, "/admin/app/commit/")
    assert option not in page(admin_client, form)
    assert admin_client.post(form, {"author": author.pk}).status_code == 200
    assert not Annotation.objects.exists()


class KeysOfAuthors(StatePolicy):
    """Of authors, no field is shown, but all rows."""

    def fields(self, user: Any, type: str) -> Collection[str] | None:
        return [] if type == "author" else None


def test_a_parents_hidden_field_is_not_looked_through(admin_client: Client, settings: Any) -> None:
    """Finding rows by its value would reveal that value."""
    apply("git", [change("author", "ada", commits=7)])
    made = {"subject": "s", "authored_at": "2026-01-01T00:00Z"}
    apply("git", [change("commit", "c", author="ada", **made)])
    path, asked = "/admin/app/commit/", {"author__commits": "7"}
    assert "author__commits=7" in page(admin_client, path)
    assert admin_client.get(path, asked).status_code == 200
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.KeysOfAuthors"}
    assert "author__commits=7" not in page(admin_client, path)
    assert admin_client.get(path, asked).status_code == 400


def test_deleting_names_no_row_that_goes_too(admin_client: Client, settings: Any) -> None:
    """They are counted by model; the rows themselves may be hidden."""
    own = Message.objects.create(key="own", text="x")
    asked = page(admin_client, f"/admin/app/message/{own.pk}/delete/")
    assert str(own) in asked.replace("&#x27;", "'")
    assert "Messages: 1" in asked


def test_a_hidden_parent_is_blank_and_kept(
    sign_in: SignIn, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text is not shown with the rows that point to it, and saving such a row does not
    unlink it.
    """
    monkeypatch.setattr(Author, "__str__", lambda self: f"author<{self.key}>")
    made = {"subject": "s", "authored_at": "2026-01-01T00:00Z"}
    apply("git", [change("author", "hidden-author", commits=1)])
    apply("git", [change("commit", "c", author="hidden-author", **made)])
    author, row = Author.objects.get(), Commit.objects.get()
    own = Annotation.objects.create(author=author)
    models = ("commit", "annotation", "author")
    client = sign_in(
        *(f"app.{action}_{model}" for action in ("view", "change") for model in models)
    )
    paths = [f"/admin/app/commit/{row.pk}/change/", f"/admin/app/annotation/{own.pk}/change/"]
    for path in ["/admin/app/annotation/", *paths]:
        assert "hidden-author" in page(client, path)
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.NoAuthors"}
    for path in ["/admin/app/annotation/", *paths]:
        assert "hidden-author" not in page(client, path)
    assert client.post(paths[1], {"author": "", "note": "new"}).status_code == 302
    in_the_list = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": own.pk,
        "form-0-author": "",
        "_save": "Save",
    }
    assert client.post("/admin/app/annotation/", in_the_list).status_code == 302
    own.refresh_from_db()
    assert own.author == author
    assert "(hidden)" in page(client, paths[1])
    assert "disabled" in page(client, paths[1])


class PublicGroups(StatePolicy):
    """Groups whose names begin with "public"."""

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(name__startswith="public") if queryset.model is Group else queryset


def test_hidden_members_are_not_offered_and_stay(admin_client: Client, settings: Any) -> None:
    """Of a many-to-many field, whatever else is chosen."""
    registry.clear()

    @register("group")
    class Groups(EntityMapping):
        model = Group
        key_field = "name"
        fields = ()

    settings.DURABLE_STATE = {"POLICY": f"{__name__}.PublicGroups"}
    names = ("public-a", "public-b", "secret-group")
    groups = {name: Group.objects.create(name=name) for name in names}
    member = User.objects.create_user("member")
    member.groups.set([groups["public-a"], groups["secret-group"]])
    path = f"/admin/auth/user/{member.pk}/change/"
    assert "public-b" in page(admin_client, path)
    assert "secret-group" not in page(admin_client, path)
    assert admin_client.post(path, {"groups": groups["public-b"].pk}).status_code == 302
    assert set(member.groups.all()) == {groups["public-b"], groups["secret-group"]}
    forged = {"groups": [groups["public-a"].pk, groups["secret-group"].pk]}
    assert admin_client.post(path, forged).status_code == 200


def test_rows_are_not_found_by_what_a_hidden_parent_holds(
    admin_client: Client, settings: Any
) -> None:
    """It can be neither searched nor filtered, letter by letter or whole; users who see all
    parents may do so.
    """
    made = {"subject": "s", "authored_at": "2026-01-01T00:00Z"}
    apply("git", [change("author", "hidden-author", commits=77)])
    apply("git", [change("commit", "c", author="hidden-author", **made)])
    path = "/admin/app/commit/"
    assert "1 commit" in page(admin_client, path, q="hidden-a")
    assert "1 commit" in page(admin_client, path, author__commits="77")
    assert "author__commits=77" in page(admin_client, path)
    settings.DURABLE_STATE = {"POLICY": f"{__name__}.NoAuthors"}
    assert "0 commits" in page(admin_client, path, q="hidden-a")
    assert "1 commit" in page(admin_client, path, q="c")
    for lookup in ("author__commits", "author__commits__gt", "author__key__startswith"):
        assert admin_client.get(path, {lookup: "7"}).status_code == 400
    assert "author__commits" not in page(admin_client, path)
