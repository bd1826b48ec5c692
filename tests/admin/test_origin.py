"""The page of a synced row: its stream, its last change, refused and parked changes, its
history.
"""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from durable_state.consumer.run import sync
from durable_state.models import Intent, Stream, VerificationRun
from durable_state.testing import apply
from tests.app.models import Commit, Message
from tests.management.support.publishing import publish
from tests.servers.process import StreamServer
from tests.wire import change, message

from .support.verifying import verify_as_a_worker
from .support.visitors import SignIn

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.support.urls")]

ROWS = "/admin/app/message/"


def shown(client: Client, row: Message) -> str:
    """What its page says about where it comes from."""
    answer = client.get(f"{ROWS}{row.pk}/origin/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_row_leads_to_its_stream_and_its_last_change(admin_client: Client) -> None:
    """By the newest commit that names it; its page and its list link the stream."""
    apply("chat", [message("a", "one"), message("b", "two")])
    apply("chat", [message("a", "three")])
    apply("chat", [message("b", "four")])
    stream, row = Stream.objects.get(), Message.objects.get(key="a")
    page = admin_client.get(f"{ROWS}{row.pk}/change/").content.decode()
    assert f"/admin/durable_state/stream/{stream.pk}/change/" in page
    assert "commit 2</a>" in shown(admin_client, row)
    listed = admin_client.get(ROWS).content.decode()
    assert f'<a href="/admin/durable_state/stream/{stream.pk}/change/">chat</a>' in listed


def test_a_row_tells_of_a_newer_change_that_was_refused(admin_client: Client) -> None:
    """So nobody takes the shown row for the newest."""
    apply("chat", [message("a", "one"), message("a", "x" * 60)])
    told = shown(admin_client, Message.objects.get())
    assert "A newer change was refused" in told
    assert "too long" in told
    assert "60 characters" in told


def test_a_row_tells_of_a_newer_change_that_waits(admin_client: Client) -> None:
    """With what it waits for."""
    commit = {"author": "ada", "subject": "s", "authored_at": "2026-01-01T00:00:00Z"}
    apply("git", [change("author", "ada"), change("commit", "c1", **commit)])
    apply("git", [change("commit", "c1", **commit | {"author": "nobody"})])
    row = Commit.objects.get()
    told = admin_client.get(f"/admin/app/commit/{row.pk}/origin/").content.decode()
    assert "A newer change is parked" in told
    assert "nobody" in told


@pytest.mark.django_db(transaction=True)
def test_a_worker_reads_the_story_of_a_row(
    admin_client: Client, sign_in: SignIn, rakaia_server: StreamServer
) -> None:
    """Requested on the page; shown there, and on the stream's page to users who see the row."""
    url = rakaia_server.stream("chat")
    publish(url, message("a", "one"), message("a", "x" * 60), message("a", "two"))
    stream = Stream.objects.create(name="chat", url=url)
    sync(stream, until_up_to_date=True)
    row = Message.objects.get()
    ask = f"{ROWS}{row.pk}/origin/"

    reader = sign_in("durable_state.view_stream", "app.view_message")
    assert "Show what became" not in shown(reader, row)
    assert reader.post(ask, {"origin": "0"}).status_code == 403
    assert admin_client.post(ask, {"origin": "7"}).status_code == 403
    assert "Show what became" in shown(admin_client, row)
    told = admin_client.post(ask, {"origin": "0"}, follow=True)
    assert "A worker is reading its history" in told.content.decode()
    assert told.redirect_chain[-1][0] == f"{ROWS}{row.pk}/change/"
    assert "waiting for a worker" in shown(reader, row)

    verify_as_a_worker()
    stream_page = f"/admin/durable_state/stream/{stream.pk}/change/"
    for page in (shown(reader, row), admin_client.get(stream_page).content.decode()):
        assert "1: upsert accepted" in page or "1: insert accepted" in page
        assert "refused: too-long" in page
        assert "row found: " in page
    user = User.objects.create_user("grace", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_stream"))
    blind = Client()
    blind.force_login(user)
    page = blind.get(stream_page).content.decode()
    assert "(you do not see the row)" in page
    assert "refused: too-long" not in page
    assert VerificationRun.objects.get().state == "equal"
    assert Intent.objects.filter(detail__contains="two").count() == 0


def test_rows_that_are_not_a_streams_have_no_origin(admin_client: Client, sign_in: SignIn) -> None:
    """Nor does one that the user may not see."""
    own = Message.objects.create(key="own", text="mine")
    assert admin_client.get(f"{ROWS}{own.pk}/origin/").status_code == 404
    apply("chat", [message("a", "one")])
    row = Message.objects.get(key="a")
    assert sign_in("durable_state.view_stream").get(f"{ROWS}{row.pk}/origin/").status_code in (
        403,
        404,
    )


def test_a_list_without_columns_shows_what_the_stream_writes(admin_client: Client) -> None:
    """The key comes first, then the mapped fields."""
    listed = admin_client.get("/admin/app/person/").context["cl"].list_display
    assert next(each for each in listed if each != "action_checkbox") == "key"
    assert "__str__" not in listed
    assert len(listed) > 2
