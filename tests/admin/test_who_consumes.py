"""Feed log, seats and leases: read-only, as far as the policy allows."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from durable_state.consumer import lease, seating
from durable_state.models import FeedEntry, Seat, Stream
from durable_state.testing import apply
from tests.wire import delete, message

from .support.visitors import SignIn

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.support.urls")]

ADMIN = "/admin/durable_state/"


def page(client: Client, path: str) -> str:
    """The text of a page."""
    answer = client.get(f"{ADMIN}{path}")
    assert answer.status_code == 200, answer
    return answer.content.decode()


def test_a_commit_tells_what_it_changed(admin_client: Client) -> None:
    """Operation, type, key and value, and its transactions; the list shows its size."""
    headers = {"operation": "upsert", "txid": "tx-1"}
    apply("chat", [message("gone", "x")])
    apply("chat", [message("a", "<b>hello") | {"headers": headers}, delete("message", "gone")])
    assert "2" in page(admin_client, "feedentry/")
    entry = FeedEntry.objects.latest("revision")
    told = page(admin_client, f"feedentry/{entry.pk}/change/")
    assert "&lt;b&gt;hello" in told
    assert "delete" in told
    assert "gone" in told
    assert "tx-1" in told
    assert admin_client.get(f"{ADMIN}feedentry/add/").status_code == 403


def test_values_of_commits_are_for_those_who_see_the_rows(sign_in: SignIn) -> None:
    """Others see operation and type, but no key, value or transaction."""
    headers = {"operation": "upsert", "txid": "secret-tx"}
    apply("chat", [message("secret-key", "secret-text") | {"headers": headers}])
    client = sign_in("durable_state.view_feedentry", "durable_state.view_stream")
    told = page(client, f"feedentry/{FeedEntry.objects.get().pk}/change/")
    assert "message" in told
    assert "secret-" not in told


def test_seats_and_leases_say_who_consumes_what(admin_client: Client, settings: Any) -> None:
    """With links to each other; nothing about hidden streams."""
    streams = [Stream.objects.create(name=name, url="http://x/") for name in ("public-1", "other")]
    place = seating.join("default", "run", 1000)
    lease.claim(place, [each.pk for each in streams])
    seat = Seat.objects.get()
    assert ">2</a>" in page(admin_client, "seat/")
    assert "active" in page(admin_client, "seat/")
    assert seat.name in page(admin_client, f"seat/{seat.pk}/change/")
    leases = page(admin_client, f"lease/?seat__id__exact={seat.pk}")
    assert f"/admin/durable_state/stream/{streams[0].pk}/change/" in leases
    assert "other" in leases

    settings.DURABLE_STATE = {"POLICY": "tests.admin.support.visitors.OnlyPublic"}
    assert ">1</a>" in page(admin_client, "seat/")
    assert "other" not in page(admin_client, "lease/").replace("another", "")
