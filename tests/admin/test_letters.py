"""Dead letters and parked changes in the admin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from durable_state.admin import reasons
from durable_state.admin.diagnostics import pretty
from durable_state.models import DeadLetter, Generation, ParkedChange, Stream
from durable_state.testing import apply
from tests.app.models import Message
from tests.wire import START, change, message

from .support.visitors import SignIn

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.support.urls")]

CODE = re.compile(r"`([a-z-]+)`")
LIST = "/admin/durable_state/deadletter/"


def act(client: Client, action: str, *letters: DeadLetter, **more: str) -> Any:
    """Posts an action and follows the redirect."""
    return client.post(
        LIST,
        {"action": action, "_selected_action": [each.pk for each in letters]} | more,
        follow=True,
    )


def test_the_body_is_shown_as_text_whatever_it_holds(admin_client: Client) -> None:
    """Markup is escaped, and the list can be filtered by reason and stream."""
    apply(
        "chat",
        [message("<script>1", "<script>alert(1)</script>" * 3), b'{"value": "\\ud800"', b"[[[["],
    )
    page = admin_client.get(
        LIST, {"reason": DeadLetter.objects.get(key="<script>1").reason}
    ).content.decode()
    assert "1 dead letter" in page
    assert "<script>1" not in page
    for letter in DeadLetter.objects.all():
        page = admin_client.get(f"{LIST}{letter.pk}/change/").content.decode()
        assert "ds-body" in page
        assert "<script>alert" not in page


def test_any_bytes_become_text_that_can_be_sent() -> None:
    """Broken JSON, lone surrogates, bytes that are not UTF-8, control characters, endless
    nesting, very long messages.
    """
    assert pretty(b'{"b":1,"a":[2]}') == '{\n  "b": 1,\n  "a": [\n    2\n  ]\n}'
    for body in (
        b"{",
        b'"\\ud800"',
        b"\xff\x00",
        b'"\\u0000\\u001b"',
        b"[" * 100_000,
        b"9" * 5000,
        b'"' + b"x" * 500_000 + b'"',
    ):
        text = pretty(body)
        text.encode()
        assert not {"\x00", "\x1b"} & set(text)
        assert len(text) < 300_000


def test_letters_of_staged_states_are_not_shown(admin_client: Client) -> None:
    """Letters may be superseded before their rows are ever shown."""
    apply("chat", [START, message("1", "x" * 50)])
    assert Generation.objects.count() == DeadLetter.objects.count() == 1
    page = admin_client.get(LIST).content.decode()
    assert "There are no dead letters." in page


def test_retry_and_discard_ask_first(admin_client: Client) -> None:
    """The page then says what became of the letters."""
    apply("chat", [message("1", "x" * 50), message("2", "y" * 50)])
    first, second = DeadLetter.objects.order_by("ordinal")
    first.body = bytes(first.body).replace(b"x" * 50, b"short")
    first.save()
    assert "This is what will happen" in act(admin_client, "retry", first, second).content.decode()
    assert not Message.objects.exists()
    page = act(admin_client, "retry", first, second, confirmed="yes").content.decode()
    assert "1 accepted." in page
    assert "1 refused again" in page
    assert Message.objects.get().text == "short"
    second = DeadLetter.objects.get()
    assert "This is what will happen" in act(admin_client, "discard", second).content.decode()
    assert "Discarded 1." in act(admin_client, "discard", second, confirmed="yes").content.decode()
    assert not DeadLetter.objects.exists()


def test_letters_are_retried_by_reason(admin_client: Client) -> None:
    """One explanation for all with the same reason; an item that is not a message is left alone,
    and has no button.
    """
    apply("chat", [*(message(str(place), "x" * 50) for place in range(7)), b"5", b"6"])
    letters = list(DeadLetter.objects.all())
    page = act(admin_client, "retry", *letters).content.decode()
    assert page.count("The message is tried again. If it is refused again, it stays here.") == 1
    assert page.count("trying it again changes nothing") == 1
    assert "too long (7)" in page
    assert "not an object (2)" in page
    told = act(admin_client, "retry", *letters, confirmed="yes").content.decode()
    assert "7 refused again" in told
    assert "2 left as they are" in told

    for letter in DeadLetter.objects.all():
        page = admin_client.get(f"{LIST}{letter.pk}/change/").content.decode()
        assert ('value="retry"' in page) != letter.is_malformed
        assert 'value="discard"' in page
        assert ("Discard it." in page) == letter.is_malformed


def test_every_documented_reason_has_words() -> None:
    """For malformed items and refused changes."""
    text = (Path(__file__).parents[2] / "docs/reference/dead-letters.md").read_text()
    sections = text.split("| reason | means |")[1:]
    cells = (" ".join(re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)) for part in sections)
    malformed, *refused = (set(CODE.findall(each)) for each in cells)
    assert malformed == set(reasons._MALFORMED)
    assert set().union(*refused) == set(reasons._REFUSED)


def test_looking_is_not_operating(sign_in: SignIn) -> None:
    """The view permission shows letters and offers no actions."""
    apply("chat", [message("1", "x" * 50)])
    client = sign_in("durable_state.view_deadletter", "durable_state.view_stream")
    letter = DeadLetter.objects.get()
    assert "Discard" not in client.get(LIST).content.decode()
    assert "Discard" not in client.get(f"{LIST}{letter.pk}/change/").content.decode()
    act(client, "discard", letter, confirmed="yes")
    assert DeadLetter.objects.count() == 1


def test_a_parked_change_leads_to_what_it_waits_for(admin_client: Client) -> None:
    """A refused parent, a parked parent, or the row that is in the way."""
    list_url = "/admin/durable_state/parkedchange/"
    commit = {"author": "ada", "subject": "s", "authored_at": "2026-01-01T00:00:00Z"}
    apply("git", [change("author", "ada", commits="many"), change("commit", "c1", **commit)])
    parked, letter = ParkedChange.objects.get(), DeadLetter.objects.get()
    assert (parked.waits_type, parked.waits_key) == ("author", "ada")
    for url in (list_url, f"{list_url}{parked.pk}/change/"):
        page = admin_client.get(url).content.decode()
        assert f'<a href="/admin/durable_state/deadletter/{letter.pk}/change/">' in page
        assert "its message was refused" in page


def test_parked_changes_are_looked_at_only(admin_client: Client) -> None:
    """With what they wait for."""
    commit = {"author": "nobody", "subject": "s", "authored_at": "2026-01-01T00:00:00Z"}
    apply(
        "git",
        [{"type": "commit", "key": "c1", "value": commit, "headers": {"operation": "insert"}}],
    )
    parked = ParkedChange.objects.get()
    page = admin_client.get("/admin/durable_state/parkedchange/").content.decode()
    assert "c1" in page
    assert 'name="action"' not in page
    assert (
        "nobody"
        in admin_client.get(
            f"/admin/durable_state/parkedchange/{parked.pk}/change/"
        ).content.decode()
    )
    assert admin_client.get("/admin/durable_state/parkedchange/add/").status_code == 403
    assert Stream.objects.count() == 1
