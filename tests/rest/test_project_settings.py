"""The views work with any REST_FRAMEWORK settings of a project."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test import Client as Browser
from rest_framework.generics import GenericAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.renderers import BaseRenderer
from rest_framework.settings import api_settings
from rest_framework.test import APIClient
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from tests.feed.support.commits import commit, make_stream, message

pytestmark = pytest.mark.django_db
ROOT = "/api/state/"
PATHS = [
    "streams/",
    "streams/chat/",
    "streams/chat/entities/message/",
    "streams/chat/dead-letters/",
    "streams/chat/parked-changes/",
    "health/",
]


class Shouting(BaseRenderer):
    """Would change every name."""

    media_type = "application/json"
    format = "json"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return repr(data).upper().encode()


class NoMore(SimpleRateThrottle):
    """Refuses everybody."""

    rate = "1/day"

    def allow_request(self, request: Any, view: Any) -> bool:
        return False

    def wait(self) -> float:
        return 9.0


class NotOurs(PageNumberPagination):
    """Counts the requests."""

    page_size = 1


SETTINGS: dict[str, Any] = {
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "ALLOWED_VERSIONS": ["v1"],
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "DEFAULT_RENDERER_CLASSES": [f"{__name__}.Shouting"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_PAGINATION_CLASS": f"{__name__}.NotOurs",
    "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.SearchFilter"],
    "UNICODE_JSON": False,
    "PAGE_SIZE": 1,
}


VIEWS_READ: list[tuple[Any, str]] = [
    (APIView, "versioning_class"),
    (APIView, "renderer_classes"),
    (APIView, "permission_classes"),
    (GenericAPIView, "filter_backends"),
    (GenericAPIView, "pagination_class"),
]


@pytest.fixture
def reader(make_user: Any) -> APIClient:
    stream = make_stream()
    commit(stream, {("message", f"k{n}"): message("é", n) for n in range(3)})
    client = APIClient()
    permissions = ["app.view_message"]
    permissions += [f"durable_state.view_{each}" for each in ("deadletter", "parkedchange")]
    client.force_login(make_user(*permissions))
    return client


@pytest.mark.parametrize("key", [*SETTINGS, "all"])
def test_answers_are_the_same(
    key: str, reader: APIClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One setting at a time, and all of them together; also for anonymous callers."""

    def answers(client: APIClient) -> list[Any]:
        found = []
        for path in PATHS:
            answer = client.get(f"{ROOT}{path}")
            shown: Any = answer.json() if answer.content else None
            if path == "streams/":
                shown = [each["name"] for each in shown["results"]] if client is reader else None
            elif path == "streams/chat/":
                shown = None
            found.append((path, answer.status_code, shown))
        return found

    anonymous = APIClient()
    expected = answers(reader), answers(anonymous)
    assert [code for _, code, _ in expected[0]] == [200] * 6
    assert [code for _, code, _ in expected[1]] == [403] * 5 + [200]
    settings.REST_FRAMEWORK = SETTINGS if key == "all" else {key: SETTINGS[key]}
    for view, name in VIEWS_READ:  # read on import, so in a project from the start
        found = getattr(api_settings, f"DEFAULT_{name.upper()}")
        monkeypatch.setattr(view, name, found)
    assert (answers(reader), answers(anonymous)) == expected


def test_throttles_hold_but_for_health(reader: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitoring must always get an answer."""
    from durable_state.rest.views import PolicyView

    monkeypatch.setattr(PolicyView, "throttle_classes", [NoMore])
    assert reader.get(f"{ROOT}streams/").status_code == 429
    assert reader.get(f"{ROOT}health/").status_code == 200


def test_health_answers_whatever_is_accepted(reader: APIClient) -> None:
    """A probe may accept text alone."""
    for client in (reader, APIClient()):
        assert client.get(f"{ROOT}health/", HTTP_ACCEPT="text/plain").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_feed_is_read_where_requests_are_atomic(
    make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any database: Django refuses that for coroutines, and a reader would hold a
    transaction for as long as it waits.
    """
    for alias in connections:
        monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
    commit(make_stream(), {("message", "k"): message("x")})
    browser = Browser()
    browser.force_login(make_user("app.view_message"))
    answer = browser.get(f"{ROOT}streams/chat/feed/")
    assert [item["key"] for item in answer.json()] == ["k"]
