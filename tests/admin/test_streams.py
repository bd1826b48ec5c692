"""Streams in the admin: list, page, adding, and actions with confirmation."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from durable_state import admin, operations
from durable_state.admin import liveness, states
from durable_state.consumer.run import sync
from durable_state.models import (
    DeadLetter,
    Intent,
    Replay,
    Status,
    Stream,
    StreamSample,
    VerificationRun,
)
from durable_state.testing import apply
from tests.app.models import Message
from tests.management.support.publishing import publish
from tests.servers.process import StreamServer
from tests.wire import message

from .support.verifying import verify_as_a_worker
from .support.visitors import SignIn

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.support.urls")]

LIST = "/admin/durable_state/stream/"


def act(client: Client, action: str, *streams: Stream, **more: str) -> Any:
    """Posts an action and follows the redirect."""
    data = {
        "action": action,
        "_selected_action": [str(each.pk) for each in streams],
        "index": "0",
    } | more
    return client.post(LIST, data, follow=True)


def test_the_list_shows_each_stream_with_its_state(admin_client: Client) -> None:
    """The status as a pill, numbers with separators, the error; never the URL's secret."""
    apply("chat", [message("1", "one"), message("2", "x" * 50)])
    Stream.objects.create(
        name="bad",
        url="http://localhost/bad?token=secret",
        status=Status.HALTED,
        last_error="401 <refused>",
    )
    page = admin_client.get(LIST).content.decode()
    assert "ds-pill ds-bad" in page
    assert "ds-pill ds-good" in page
    assert "401 &lt;refused&gt;" in page
    assert "secret" not in page


def test_every_status_has_its_place() -> None:
    """Each has a color, an urgency, and a text for pages of rows."""
    css = Path(admin.__file__).parents[1] / "static" / "durable_state" / "admin.css"
    statuses = {each.value for each in [*Status, *operations.Shown]}
    assert set(states.STATES) == statuses
    assert set(liveness._TEXTS) == statuses
    assert set(re.findall(r"ds-is-([a-z-]+)", css.read_text())) == statuses


def test_the_list_asks_no_query_per_stream(admin_client: Client) -> None:
    """The same number of queries for three streams as for thirty."""

    def queries() -> int:
        with CaptureQueriesContext(connections["default"]) as captured:
            assert admin_client.get(LIST).status_code == 200
        return len(captured)

    for place in range(3):
        Stream.objects.create(name=f"s{place}", url="http://localhost/s")
    few = queries()
    for place in range(3, 30):
        Stream.objects.create(name=f"s{place}", url="http://localhost/s")
    assert queries() == few


def test_the_cells_are_served_anew_for_the_page_that_is_open(sign_in: SignIn) -> None:
    """The same elements as in the list, by name; nothing without the permission."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    client = sign_in("durable_state.view_stream")
    parts = client.get(f"{LIST}live/", {"pk": [str(stream.pk), "999", "x"]}).content.decode()
    names = re.findall(r'data-part="([^"]+)"', parts)
    cells = ("state", "speed", "lag", "read", "letters", "parked", "other")
    assert names == ["chips", *(f"{stream.pk}-{name}" for name in cells)]
    listed = client.get(LIST).content.decode()
    assert set(names) == set(re.findall(r'data-part="([^"]+)"', listed))
    assert 'title="1 message: 1 applied">1<' in parts
    assert ">live</span>" in parts
    client.logout()
    assert client.get(f"{LIST}live/", {"pk": stream.pk}).status_code == 302


def test_the_page_of_a_stream_adds_its_counters_up(admin_client: Client) -> None:
    """Position, counters, types, lease, and who requested what."""
    apply(
        "chat",
        [
            message("1", "one"),
            message("2", "x" * 50),
            {"type": "other", "key": "1", "headers": {"operation": "delete"}},
        ],
    )
    stream = Stream.objects.get()
    Intent.objects.create(stream_name="chat", verb="reset", actor="grace")
    page = admin_client.get(f"{LIST}{stream.pk}/change/").content.decode()
    assert "every message read" in page
    assert "of types without a mapping" in page
    assert "app.message" in page
    assert "no mapping" in page
    assert "grace" in page
    Stream.objects.update(ordinal=4)
    assert "4 were read" in admin_client.get(f"{LIST}{stream.pk}/change/").content.decode()


def test_a_stream_is_added_by_form(admin_client: Client) -> None:
    """Name, URL and live mode; the audit entry names the user."""
    data = {"name": "chat", "url": "http://localhost/chat", "live": "sse"}
    assert admin_client.post(f"{LIST}add/", data).status_code == 302
    assert Stream.objects.get().name == "chat"
    assert Intent.objects.get().actor == "admin"
    page = admin_client.post(
        f"{LIST}add/", data | {"url": "http://u:p@localhost/"}
    ).content.decode()
    assert "carries a user name" in page
    assert "already exists" in page
    page = admin_client.post(f"{LIST}add/", data | {"name": "no spaces"}).content.decode()
    assert "Use 1 to 100" in page
    assert Stream.objects.count() == 1


def test_adopting_a_table_that_is_taken_is_told(admin_client: Client) -> None:
    """The message says which stream owns it, and nothing is added."""
    data = {"name": "git", "url": "http://localhost/git", "live": "sse", "adopt": "on"}
    admin_client.post(f"{LIST}add/", data)
    page = admin_client.post(f"{LIST}add/", data | {"name": "other"}, follow=True).content.decode()
    assert "belongs to the stream &#x27;git&#x27;" in page
    assert Stream.objects.count() == 1


@pytest.mark.parametrize("action", ["pause", "resume", "reset", "remove", "verify"])
def test_an_action_says_what_will_happen_and_does_nothing_yet(
    admin_client: Client, action: str
) -> None:
    """The confirmation page names the stream and carries the selection."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    before = Stream.objects.values().get()
    page = act(admin_client, action, stream).content.decode()
    assert "This is what will happen" in page
    assert f'name="_selected_action" value="{stream.pk}"' in page
    assert Stream.objects.values().get() == before
    assert not Intent.objects.exists()


def test_confirmed_actions_take_effect(admin_client: Client) -> None:
    """One after the other, each with its message and its audit entry."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    assert "Paused chat." in act(admin_client, "pause", stream, confirmed="yes").content.decode()
    assert Stream.objects.get().paused
    assert "Resumed chat." in act(admin_client, "resume", stream, confirmed="yes").content.decode()
    assert "Reset chat" in act(admin_client, "reset", stream, confirmed="yes").content.decode()
    assert Replay.objects.get().ordinal == 0
    assert (
        "0 messages read again" in admin_client.get(f"{LIST}{stream.pk}/change/").content.decode()
    )
    assert (
        "its rows stay"
        in act(admin_client, "remove", stream, confirmed="yes", keep_rows="on").content.decode()
    )
    assert Message.objects.count() == 1
    assert set(Intent.objects.values_list("verb", "actor")) == {
        (verb, "admin") for verb in ("pause", "resume", "reset", "remove")
    }


def test_an_action_of_the_page_returns_to_the_page(admin_client: Client) -> None:
    """Unless the stream is gone."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    answer = act(admin_client, "pause", stream, confirmed="yes", from_page="yes")
    assert answer.redirect_chain[-1][0] == f"{LIST}{stream.pk}/change/"
    answer = act(admin_client, "remove", stream, confirmed="yes", from_page="yes")
    assert answer.redirect_chain[-1][0] == LIST
    assert not Message.objects.exists()


def test_removing_names_the_rows_that_go(admin_client: Client) -> None:
    """By model, before the removal is confirmed."""
    apply("chat", [message("1", "one"), message("2", "two")])
    assert (
        "2 rows of app.Message"
        in act(admin_client, "remove", Stream.objects.get()).content.decode()
    )


def test_a_verb_that_is_refused_is_told_as_an_error(admin_client: Client) -> None:
    """The stream needs a reset; the others are still resumed."""
    bad = Stream.objects.create(
        name="bad", url="http://localhost/bad", status=Status.NEEDS_RESET, last_error="410"
    )
    good = Stream.objects.create(name="good", url="http://localhost/good", paused=True)
    page = act(admin_client, "resume", bad, good, confirmed="yes").content.decode()
    assert "cannot continue from where it was" in page
    assert "Resumed good." in page


def test_without_the_change_permission_there_is_nothing_to_press(sign_in: SignIn) -> None:
    """In the list, on the page, and by a posted action."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    client = sign_in("durable_state.view_stream")
    assert 'name="action"' not in client.get(LIST).content.decode()
    assert "Reset" not in client.get(f"{LIST}{stream.pk}/change/").content.decode()
    act(client, "pause", stream, confirmed="yes")
    assert not Stream.objects.get().paused


def test_removing_needs_the_delete_permission(sign_in: SignIn) -> None:
    """Permission to operate is not enough."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    client = sign_in("durable_state.view_stream", "durable_state.change_stream")
    act(client, "remove", stream, confirmed="yes")
    assert Stream.objects.count() == 1
    act(client, "pause", stream, confirmed="yes")
    assert Stream.objects.get().paused


def test_the_policy_decides_which_streams_are_there(admin_client: Client, settings: Any) -> None:
    """In list, page, cells and actions alike."""
    settings.DURABLE_STATE = {"POLICY": "tests.admin.support.visitors.OnlyPublic"}
    secret = Stream.objects.create(name="secret", url="http://localhost/s")
    Stream.objects.create(name="public-1", url="http://localhost/p")
    assert "secret" not in admin_client.get(LIST).content.decode()
    assert admin_client.get(f"{LIST}{secret.pk}/change/").status_code == 302
    parts = admin_client.get(f"{LIST}live/", {"pk": secret.pk}).content.decode()
    assert f"{secret.pk}-state" not in parts
    assert 'title="All streams">All <b>1</b>' in parts
    assert admin_client.get(f"{LIST}{secret.pk}/live/").status_code == 404
    act(admin_client, "pause", secret, confirmed="yes")
    assert not Stream.objects.get(name="secret").paused


def test_intents_of_hidden_streams_are_hidden(admin_client: Client, settings: Any) -> None:
    """Those of removed streams are shown."""
    settings.DURABLE_STATE = {"POLICY": "tests.admin.support.visitors.OnlyPublic"}
    Stream.objects.create(name="secret", url="http://localhost/s")
    for name in ("secret", "gone-by-now"):
        Intent.objects.create(stream_name=name, verb="pause", actor="grace")
    page = admin_client.get("/admin/durable_state/intent/").content.decode()
    assert "gone-by-now" in page
    assert "secret" not in page


def test_letters_of_hidden_streams_are_hidden(admin_client: Client, settings: Any) -> None:
    """Their messages hold values of rows, too."""
    apply("secret", [message("1", "x" * 50)])
    settings.DURABLE_STATE = {"POLICY": "tests.admin.support.visitors.OnlyPublic"}
    letter = DeadLetter.objects.get()
    assert (
        admin_client.get(f"/admin/durable_state/deadletter/{letter.pk}/change/").status_code == 302
    )


@pytest.mark.django_db(transaction=True)
def test_verify_shows_what_it_found(admin_client: Client, rakaia_server: StreamServer) -> None:
    """Requested on the page, carried out by a worker; the page then shows equal, the differences
    by type, or why it failed, each with who requested it.
    """
    url = rakaia_server.stream("chat")
    publish(url, message("1", "one"))
    stream = Stream.objects.create(name="chat", url=url)
    sync(stream, until_up_to_date=True)

    def ask() -> str:
        answer = act(admin_client, "verify", stream, confirmed="yes", from_page="yes")
        return str(answer.content.decode())

    asked = ask()
    assert "Requested a verification of chat" in asked
    assert ">waiting for a worker<" in asked
    parts = admin_client.get(f"{LIST}{stream.pk}/live/").content.decode()
    assert "<p>waiting for a worker</p>" in parts
    VerificationRun.objects.get().intent.__class__.objects.update(
        created_at=timezone.now() - timedelta(minutes=1)
    )
    page = f"{LIST}{stream.pk}/change/"
    assert "No worker has taken it yet" in admin_client.get(page).content.decode()

    verify_as_a_worker()
    shown = admin_client.get(page).content.decode()
    assert ">equal<" in shown
    assert "Compared 1 row (message 1), after message 1" in shown
    assert "requested by admin" in shown

    Message.objects.update(text="forged")
    ask()
    verify_as_a_worker()
    shown = admin_client.get(page).content.decode()
    assert ">differs<" in shown
    assert "changed: message 1" in shown

    Stream.objects.update(url=rakaia_server.stream("nothing-there"))
    ask()
    verify_as_a_worker()
    assert "could not be verified" in admin_client.get(page).content.decode()
    assert set(Intent.objects.values_list("verb", "actor")) == {("verify", "admin")}


def test_a_stream_is_edited_by_form(admin_client: Client, sign_in: SignIn) -> None:
    """The present URL is shown without its secret; what the server says is shown; others may not
    do it.
    """
    stream = Stream.objects.create(name="chat", url="http://127.0.0.1:9/a?token=secret")
    page = admin_client.get(f"{LIST}{stream.pk}/edit/").content.decode()
    assert "http://127.0.0.1:9/a?token=***" in page
    assert "secret" not in page
    wrong = {"url": "nonsense", "live": "sse"}
    assert "http" in admin_client.post(f"{LIST}{stream.pk}/edit/", wrong).content.decode()
    new = {"url": "http://127.0.0.1:9/b", "live": "long-poll"}
    said = admin_client.post(f"{LIST}{stream.pk}/edit/", new, follow=True).content.decode()
    assert "Changed chat." in said
    assert "cannot be reached" in said
    admin_client.post(f"{LIST}{stream.pk}/edit/", {"url": "", "live": "sse"})
    stream.refresh_from_db()
    assert (stream.url, stream.live) == ("http://127.0.0.1:9/b", "sse")
    assert admin_client.get(f"{LIST}{stream.pk + 1}/edit/").status_code == 404
    reader = sign_in("durable_state.view_stream", "app.view_message")
    assert reader.get(f"{LIST}{stream.pk}/edit/").status_code == 403
    assert reader.post(f"{LIST}{stream.pk}/edit/", new).status_code == 403


def test_streams_are_found_by_what_is_shown_of_them(admin_client: Client) -> None:
    """By the status shown in the list, which no column holds, and by whether they wait for a
    person.
    """
    for name in ("good", "halted", "paused"):
        apply(name, [message("1", "one")])
    apply("odd", [message("1", "one") | {"type": "messages"}])
    Stream.objects.filter(name="halted").update(status=Status.HALTED)
    Stream.objects.filter(name="paused").update(paused=True)

    def names(query: str) -> set[str]:
        found = admin_client.get(f"{LIST}?{query}").context["cl"].result_list
        return {stream.name for stream in found}

    apply("good", [message("long", "x" * 50)])
    assert names("attention=needed") == {"halted", "odd"}
    assert names("attention=letters") == {"good"}
    assert names("attention=parked") == set()
    assert names("shown=paused") == {"paused"}
    assert names("shown=unmapped") == {"odd"}
    assert names("shown=live") == {"good"}
    assert names("") == {"good", "halted", "odd", "paused"}


def test_what_needs_a_person_comes_first(admin_client: Client) -> None:
    """Then those with warnings, then those with dead letters; the others by name."""
    for name in ("a-live", "b-letters", "c-halted", "d-paused", "e-retrying"):
        apply(name, [message("1", "one")])
    apply("b-letters", [message("long", "x" * 50)])
    Stream.objects.filter(name="c-halted").update(status=Status.HALTED)
    Stream.objects.filter(name="d-paused").update(paused=True)
    Stream.objects.filter(name="e-retrying").update(status=Status.RETRYING, since=timezone.now())
    listed = admin_client.get(LIST).context["cl"].result_list
    order = [stream.name for stream in listed]
    assert order == ["c-halted", "e-retrying", "b-letters", "d-paused", "a-live"]
    by_name = admin_client.get(f"{LIST}?o=-1").context["cl"].result_list
    assert [stream.name for stream in by_name] == sorted(order, reverse=True)


def test_the_index_tells_which_streams_wait_for_a_person(
    admin_client: Client, sign_in: SignIn
) -> None:
    """Once, with a link; nothing if all is well, on other pages, or for users who may not see
    it.
    """
    apply("chat", [message("1", "one")])
    assert "needs attention" not in admin_client.get("/admin/").content.decode()
    Stream.objects.update(status=Status.HALTED)
    page = admin_client.get("/admin/").content.decode()
    assert page.count("1 stream needs attention: chat") == 1
    assert f"{LIST}?attention=needed" in page
    assert "needs attention" not in admin_client.get(LIST).content.decode()
    assert "needs attention" not in sign_in("app.view_message").get("/admin/").content.decode()


def test_the_index_stays_up_without_our_tables(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may not be migrated yet. It must not spoil the request's transaction either, as a
    failed statement does on PostgreSQL.
    """

    def missing(*_anything: object, **_more: object) -> dict[int, Any]:
        connections["default"].needs_rollback = True
        raise OperationalError("no such table: durable_state_stream")

    monkeypatch.setattr(operations, "reports", missing)
    assert admin_client.get("/admin/").status_code == 200


def test_a_reset_has_its_end_in_sight_and_can_be_cancelled(admin_client: Client) -> None:
    """In the list and on the page; confirmed first, and recorded."""
    apply("chat", [message(str(place), "text") for place in range(10)])
    stream = Stream.objects.get()
    Replay.objects.create(stream=stream, ordinal=7, rate=1.5, moved_at=timezone.now())
    page = f"{LIST}{stream.pk}/change/"
    for url in (LIST, page):
        shown = admin_client.get(url).content.decode()
        assert "7 of 10 messages (70%), about 2\u00a0s left" in shown
        assert 'aria-label="Reset" value="70.0"' in shown
    assert "Cancel reset" in admin_client.get(page).content.decode()
    asked = act(admin_client, "cancel_reset", stream, from_page="yes").content.decode()
    assert "What has been read again so far is dropped." in asked
    told = act(admin_client, "cancel_reset", stream, from_page="yes", confirmed="yes")
    assert "Cancelled the reset of chat." in told.content.decode()
    assert told.redirect_chain[-1][0] == page
    assert not Replay.objects.exists()
    assert Intent.objects.get().verb == "cancel reset"
    assert (
        "is under way"
        in act(admin_client, "cancel_reset", stream, confirmed="yes").content.decode()
    )


def test_letters_and_parked_changes_are_coloured_numbers(admin_client: Client) -> None:
    """A live stream that has unapplied changes is not plain green."""
    apply("chat", [message("1", "x" * 50), message("2", "one")])
    assert '<span class="ds-count ds-bad">1</span>' in admin_client.get(LIST).content.decode()
    page = admin_client.get(f"{LIST}{Stream.objects.get().pk}/change/").content.decode()
    assert re.search(r'<a href="[^"]+deadletter/\?stream=\d+" class="ds-bad"><b>1</b>', page)


def test_the_charts_are_drawn_from_samples(admin_client: Client) -> None:
    """A bar for each span in which something happened, with its number as a tooltip."""
    apply("chat", [message("1", "one")])
    stream = Stream.objects.get()
    page = f"{LIST}{stream.pk}/change/"
    assert admin_client.get(page).content.decode().count("nothing in the last hour") == 3
    at = (timezone.now() - timedelta(minutes=5)).replace(second=14)
    StreamSample.objects.create(
        stream=stream, at=at, seconds=10, messages=600, commits=4, commit_ms=80, lag_ms=2500
    )
    shown = admin_client.get(page).content.decode()
    charts = shown.partition('data-part="charts"')[2]
    assert "peak 20/s" in charts  # 600 messages in 30 s make one bar
    assert "peak 2.5 s" in charts
    assert "peak 20 ms" in charts
    assert charts.count("<rect") == 3
    assert admin_client.get(LIST).content.decode().count("<rect") == 1
