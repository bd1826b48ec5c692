"""`SyncedModelAdmin`: what the stream writes is read-only, what the application owns is not."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.test.utils import override_script_prefix
from django.utils import timezone

from durable_state.models import Stream
from durable_state.testing import apply
from tests.app.models import File, Message, Person, Profile, Room
from tests.wire import change

from .support.visitors import SignIn

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.support.urls")]


def file(path: str, blob: str = "b1") -> dict[str, Any]:
    """A file of the history."""
    return change("file", path, blob=blob, mode="100644", commit="c1")


def live(page: str) -> Any:
    """The configuration that the page gives its script."""
    found = re.search(
        r'<script id="durable-state-live" type="application/json">(.*?)</script>', page
    )
    assert found is not None
    return json.loads(found[1])


def test_only_the_applications_own_columns_are_written(admin_client: Client) -> None:
    """Saving the form does not undo a change that the stream made while it was open."""
    apply("git", [file("README.md")])
    row = File.objects.get()
    url = f"/admin/app/file/{row.pk}/change/"
    page = admin_client.get(url).content.decode()
    assert 'name="note"' in page
    assert 'name="blob"' not in page
    assert "From the stream" in page
    apply("git", [file("README.md", blob="b2")])
    answer = admin_client.post(url, {"note": "mine", "blob": "forged", "path": "forged"})
    assert answer.status_code == 302
    row.refresh_from_db()
    assert (row.note, row.blob, row.path) == ("mine", "b2", "README.md")


def test_saving_writes_no_synced_column_even_in_between(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream commits between the form's read and its write."""
    apply("git", [file("README.md")])
    row = File.objects.get()
    saved = File.save

    def late(self: File, *args: Any, **kwargs: Any) -> None:
        File.objects.filter(pk=self.pk).update(blob="newer")
        saved(self, *args, **kwargs)

    monkeypatch.setattr(File, "save", late)
    admin_client.post(f"/admin/app/file/{row.pk}/change/", {"note": "mine"})
    row.refresh_from_db()
    assert (row.note, row.blob) == ("mine", "newer")


def test_the_list_edits_own_columns(admin_client: Client) -> None:
    """By the same rule."""
    apply("git", [file("README.md")])
    row = File.objects.get()
    data = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": row.pk,
        "form-0-note": "mine",
        "_save": "Save",
    }
    assert admin_client.post("/admin/app/file/", data).status_code == 302
    row.refresh_from_db()
    assert row.note == "mine"


def test_synced_rows_are_neither_added_nor_deleted(admin_client: Client) -> None:
    """Neither one by one, nor as a selection."""
    apply("git", [file("README.md")])
    row = File.objects.get()
    assert admin_client.get("/admin/app/file/add/").status_code == 403
    assert (
        admin_client.post(f"/admin/app/file/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    )
    admin_client.post(
        "/admin/app/file/", {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    )
    assert File.objects.count() == 1


def test_rows_of_the_application_are_its_own(admin_client: Client) -> None:
    """If their stream field is NULL: added, edited, deleted; never given to a stream."""
    apply("chat", [change("message", "1", text="synced")])
    synced = Message.objects.get()
    data = {"key": "own", "text": "mine", "likes": "1", "room": "chat"}
    assert admin_client.post("/admin/app/message/add/", data).status_code == 302
    own = Message.objects.get(key="own")
    assert own.room is None
    assert (
        admin_client.post(
            f"/admin/app/message/{own.pk}/change/", data | {"text": "changed"}
        ).status_code
        == 302
    )
    own.refresh_from_db()
    assert own.text == "changed"
    page = admin_client.post(
        "/admin/app/message/",
        {"action": "delete_selected", "_selected_action": [own.pk, synced.pk], "post": "yes"},
    )
    assert page.status_code == 403
    assert Message.objects.count() == 2
    assert (
        admin_client.post(f"/admin/app/message/{synced.pk}/delete/", {"post": "yes"}).status_code
        == 403
    )
    assert (
        admin_client.post(f"/admin/app/message/{own.pk}/delete/", {"post": "yes"}).status_code
        == 302
    )
    assert Message.objects.get() == synced


def test_the_policy_narrows_the_rows(admin_client: Client, settings: Any) -> None:
    """A row that the user may not see does not exist for them."""
    settings.DURABLE_STATE = {"POLICY": "tests.admin.support.visitors.OnlyPublic"}
    apply(
        "public-chat",
        [change("message", "1", text="public one"), change("message", "2", text="hidden")],
    )
    page = admin_client.get("/admin/app/message/").content.decode()
    assert "public one" in page
    assert "hidden</" not in page
    assert (
        admin_client.get(
            f"/admin/app/message/{Message.objects.get(key='2').pk}/change/"
        ).status_code
        == 302
    )


def test_the_list_follows_the_feeds_of_the_streams_it_shows(admin_client: Client) -> None:
    """Each from the revision at which its rows were read, so that a fresh page needs no
    snapshot.
    """
    apply("chat", [change("message", "1", text="a")])
    apply("other", [change("message", "1", text="b")])
    apply("silent", [change("profile", "1", name="c")])
    config = live(admin_client.get("/admin/app/message/").content.decode())
    assert sorted(feed["stream"] for feed in config["feeds"]) == [
        "chat",
        "other",
    ]
    assert all(feed["offset"].endswith(".1") for feed in config["feeds"])
    assert sorted(config["rows"]) == sorted(
        str(pk) for pk in Message.objects.values_list("pk", flat=True)
    )


def test_the_stream_is_found_however_the_rows_name_it(admin_client: Client) -> None:
    """By foreign key, through an object that stands for it, or by owning the table."""
    apply("git", [file("README.md"), change("profile", "ada", name="Ada")])
    stream = Stream.objects.create(name="hall", url="http://localhost/hall")
    Room.objects.create(title="Hall", stream=stream)
    apply("hall", [change("person", "ada", email="a@example.org")])
    assert Person.objects.count() == Profile.objects.count() == 1
    for model, feed in (
        ("file", "git"),
        ("profile", "git"),
        ("person", "hall"),
    ):
        config = live(admin_client.get(f"/admin/app/{model}/").content.decode())
        told = [(each["stream"], each["type"]) for each in config["feeds"]]
        assert told == [(feed, model)]


def test_the_page_of_a_row_follows_its_entity(admin_client: Client) -> None:
    """The application's own rows follow no feed."""
    apply("chat", [change("message", "k1", text="a")])
    config = live(
        admin_client.get(f"/admin/app/message/{Message.objects.get().pk}/change/").content.decode()
    )
    assert config["keys"] == ["k1"]
    own = Message.objects.create(key="own", text="x")
    assert (
        "durable-state-live"
        not in admin_client.get(f"/admin/app/message/{own.pk}/change/").content.decode()
    )


def test_the_list_asks_no_query_per_row(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    """A page of a hundred rows."""
    apply("chat", [change("message", f"k{place}", text="a") for place in range(100)])
    with django_assert_max_num_queries(16):
        admin_client.get("/admin/app/message/")


@pytest.mark.parametrize(
    ("fields", "tone", "text"),
    [
        ({}, "good", "Live"),
        ({"paused": True}, "quiet", "Not live: git is paused"),
        ({"since": 100, "created_at": 100, "up_to_date_at": 100}, "warn", "Not live: no worker"),
        ({"status": "halted"}, "bad", "Not live: git has halted"),
        ({"status": "closed", "created_at": 100}, "good", "Complete: git is closed"),
    ],
)
def test_a_page_says_live_only_where_it_is_true(
    admin_client: Client, fields: dict[str, Any], tone: str, text: str
) -> None:
    """In the page as served, and when its script asks again."""
    apply("git", [file("README.md")])
    moments = {
        name: timezone.now() - timedelta(seconds=value) if type(value) is int else value
        for name, value in fields.items()
    }
    Stream.objects.update(**moments)
    page = live(admin_client.get("/admin/app/file/").content.decode())
    assert page["liveness"]["tone"] == tone
    assert page["liveness"]["text"].startswith(text)
    assert admin_client.get(page["liveness_url"]).json() == page["liveness"]
    admin_client.logout()
    assert admin_client.get(page["liveness_url"]).status_code == 302


def test_the_worst_of_several_streams_decides(admin_client: Client) -> None:
    """A list may show the rows of many streams."""
    for name in ("one", "two"):
        apply(name, [change("message", "1", text="x", likes=0)])
    Stream.objects.filter(name="two").update(paused=True)
    page = live(admin_client.get("/admin/app/message/").content.decode())
    assert page["liveness"] == {"tone": "quiet", "text": "Not live: two is paused"}


def test_nothing_is_told_of_streams_that_may_not_be_seen(sign_in: SignIn, settings: Any) -> None:
    """Neither their names nor their status."""
    settings.DURABLE_STATE = {"POLICY": "tests.admin.support.visitors.OnlyPublic"}
    apply("git", [file("README.md")])
    client = sign_in("app.view_message")
    url = "/admin/app/message/durable-state/?stream=git"
    assert client.get(url).json()["text"] == "No stream writes these rows"
    assert client.get("/admin/app/file/durable-state/?stream=git").status_code == 403


def test_the_socket_is_below_the_script_name(admin_client: Client) -> None:
    """Like all URLs of a project that is not mounted at the root."""
    apply("chat", [change("message", "1", text="a")])
    with override_script_prefix("/below/"):
        page = admin_client.get("/admin/app/message/").content.decode()
    assert '"socket": "/below/ws/state/"' in page
    assert '"socket": "/ws/state/"' in admin_client.get("/admin/app/message/").content.decode()
