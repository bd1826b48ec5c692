"""How lists are ordered, filtered, cut and cached."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory

from durable_state.models import ParkedChange, Status, Stream
from durable_state.rest import filters
from durable_state.rest.pages import KeyPages, Order
from durable_state.testing import apply
from tests.app.models import Message
from tests.feed.support.commits import commit, make_stream, message
from tests.wire import change

pytestmark = pytest.mark.django_db

ROOT = "/api/state/streams/"
CHAT = f"{ROOT}chat/entities/message/"
LIKES = [3, None, 1, 3, None, 2, 3, 0, 3, 1]


@pytest.fixture
def root(make_user: Any) -> APIClient:
    client = APIClient()
    client.force_login(make_user(superuser=True))
    return client


@pytest.fixture
def chat() -> Stream:
    """Ten messages, some with as many likes, some without any."""
    stream = make_stream()
    commit(stream, {("message", f"k{n}"): message(f"text {n % 3}", n) for n in range(10)})
    for n, likes in enumerate(LIKES):
        Message.objects.filter(key=f"k{n}").update(likes=likes)
    return stream


def keys(client: APIClient, query: str = "", path: str = CHAT) -> list[str]:
    """From all pages."""
    return [each["key"] for each in pages(client, f"{path}?limit=3{query}")]


def pages(client: APIClient, url: str | None) -> list[dict[str, Any]]:
    """The keys on all pages, forwards; backwards they must be the same."""
    forwards: list[Any] = []
    last: Any = None
    while url is not None:
        answer = client.get(url)
        assert answer.status_code == 200, answer.content
        last = answer.json()
        forwards += last["results"]
        url = last["next"]
    backwards = list(last["results"])
    while last["previous"] is not None:
        last = client.get(last["previous"]).json()
        backwards = last["results"] + backwards
    assert backwards == forwards
    return forwards


class Ordered:
    """A view, as far as its pages know it."""

    def __init__(self, order: Order) -> None:
        self.page_order = order

    def page(self, rows: Any, url: str) -> tuple[list[str], KeyPages]:
        """The keys of one page, and the page itself, which knows its neighbours."""
        pages = KeyPages()
        request = Request(APIRequestFactory().get(url))
        return [each["key"] for each in pages.paginate_queryset(rows, request, self)], pages


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("field", [None, "likes"])
@pytest.mark.parametrize("descending", [False, True])
def test_rows_are_ordered_by_any_field(field: str | None, descending: bool, database: str) -> None:
    """Rows without a value come last either way, equal ones by key; page by page, both ways."""
    stream = make_stream(using=database)
    commit(stream, {("message", f"k{n}"): message("x", each) for n, each in enumerate(LIKES)})
    view, rows = Ordered(Order("key", field, descending)), Message.objects.using(database).all()
    url: str | None = "/?limit=3"
    found: list[list[str]] = []
    while url is not None:
        page, pages = view.page(rows, url)
        found.append(page)
        url = pages.get_next_link()
    back = list(found[-1:])
    while (url := pages.get_previous_link()) is not None:
        page, pages = view.page(rows, url)
        back.insert(0, page)
    assert back == found

    sign = -1 if descending else 1
    if field is None:
        expected = sorted(range(10), reverse=descending)
    else:
        expected = sorted(range(10), key=lambda n: (LIKES[n] is None, sign * (LIKES[n] or 0), n))
    assert [key for page in found for key in page] == [f"k{n}" for n in expected]


def test_the_query_orders_and_filters(root: APIClient, chat: Stream) -> None:
    """By wire names, combined, on every page."""
    assert keys(root, "&ordering=-likes")[:4] == ["k0", "k3", "k6", "k8"]
    assert keys(root, "&likes=3&text=text 0") == ["k0", "k3", "k6"]
    assert keys(root, "&likes__gte=2&ordering=-key") == ["k8", "k6", "k5", "k3", "k0"]
    assert keys(root, "&likes__isnull=true") == ["k1", "k4"]
    assert keys(root, "&likes__in=0,2&ordering=likes") == ["k7", "k5"]
    assert keys(root, "&isEdited=true") == []
    assert keys(root, "&text__contains=1&likes=3") == []


def test_a_parent_is_filtered_by_its_key(root: APIClient) -> None:
    """By its key, as in the value."""
    made = {"subject": "s", "authored_at": "2026-01-01T00:00Z"}
    apply("git", [change("author", name, commits=1) for name in ("ada", "bob")])
    apply("git", [change("commit", f"c-{name}", author=name, **made) for name in ("ada", "bob")])
    path = f"{ROOT}git/entities/commit/"
    assert keys(root, "&author=ada", path) == ["c-ada"]
    assert keys(root, "&author__in=ada,bob&authored_at__gt=2025-01-01", path) == ["c-ada", "c-bob"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("likes=x", "likes"),
        ("likes__in=99999999999999999999999", ""),
        ("ordering=secret", "not one of key, text, likes, isEdited"),
        ("fields=secret", "not one of text, likes, isEdited"),
        ("cursor=x", "next"),
        ("cursor=W1tudWxsXSxmYWxzZV0", "next"),
        ("cursor=W1siYSIsICJiIl0sZmFsc2Vd", "next"),
        ("ordering=likes&cursor=W1sieCIsImsiXSxmYWxzZV0", "next"),
        pytest.param(
            "cursor=W1tudWxsXSxmYWxzZSxb" + "W1tb" * 900, "next", id="a deeply nested cursor"
        ),
        ("text=%00", "text"),
    ],
)
def test_what_cannot_be_asked_is_said(query: str, says: str, root: APIClient, chat: Stream) -> None:
    """400, with what would be valid."""
    answer = root.get(f"{CHAT}?{query}")
    assert answer.status_code == 400, answer.content
    assert says in answer.content.decode()


def test_hidden_fields_are_neither_filtered_nor_ordered_by(
    chat: Stream, make_user: Any, configure: Any
) -> None:
    """They would reveal their values."""
    configure(POLICY="tests.rest.test_hidden_fields.Names")
    client = APIClient()
    client.force_login(make_user())
    assert len(keys(client, "&likes=3")) == 10
    assert client.get(f"{CHAT}?ordering=likes").status_code == 400
    assert client.get(f"{CHAT}?fields=likes").status_code == 400


def test_without_django_filter_there_are_no_filters(
    root: APIClient, chat: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else works."""
    filters._entity_filters.cache_clear()
    monkeypatch.setitem(sys.modules, "django_filters", None)
    assert len(keys(root, "&likes=3&ordering=-likes")) == 10
    filters._entity_filters.cache_clear()


def test_fields_are_chosen(root: APIClient, chat: Stream) -> None:
    """For an entity's value, a stream, and a letter."""
    assert root.get(f"{CHAT}?key=k0&fields=text,likes").json()["value"] == {
        "text": "text 0",
        "likes": 3,
    }
    assert root.get(f"{ROOT}?fields=name").json()["results"] == [{"name": "chat"}]
    assert root.get(f"{ROOT}chat/?fields=name&fields=url").json().keys() == {"name", "url"}
    assert root.get(f"{ROOT}chat/?fields=nonsense").status_code == 400
    apply("chat", [change("message", "a", text="x", likes="x")])
    found = root.get(f"{ROOT}chat/dead-letters/?fields=reason").json()["results"]
    assert found == [{"reason": "type"}]


def test_streams_and_letters_in_pages(root: APIClient) -> None:
    """By name, and by number; filtered by fields that reveal no value."""
    for n in range(5):
        make_stream(f"s{n}")
    names = [each["name"] for each in pages(root, f"{ROOT}?limit=2&fields=name")]
    assert names == [f"s{n}" for n in range(5)]
    assert [
        each["name"] for each in pages(root, f"{ROOT}?limit=2&fields=name&ordering=-name")
    ] == names[::-1]
    assert [each["name"] for each in pages(root, f"{ROOT}?name__in=s1,s3&fields=name")] == [
        "s1",
        "s3",
    ]
    apply("s0", [change("message", f"k{n}", text="x", likes="x") for n in range(5)])
    path = f"{ROOT}s0/dead-letters/"
    assert keys(root, "&ordering=-id", path) == [f"k{n}" for n in (4, 3, 2, 1, 0)]
    assert keys(root, "&ordinal__gte=4&reason=type", path) == ["k3", "k4"]


def test_parked_changes(root: APIClient, make_user: Any) -> None:
    """With their own permission; values as for letters."""
    made = {"subject": "s", "authored_at": "2026-01-01T00:00Z"}
    apply("git", [change("commit", "c", author="missing", **made)])
    path = f"{ROOT}git/parked-changes/"
    (parked,) = root.get(path).json()["results"]
    assert (parked["key"], parked["reason"], parked["stale"]) == ("c", "parent", False)
    assert "missing" in parked["message"]
    assert ParkedChange.objects.get().pk == parked["id"]
    client, names = APIClient(), itertools.count()

    def ask(*permissions: str) -> Any:
        client.force_login(make_user(*permissions, name=f"user{next(names)}"))
        return client.get(path)

    assert ask("app.view_commit").status_code == 403
    (parked,) = ask("app.view_author", "durable_state.view_parkedchange").json()["results"]
    assert parked["key"] is parked["message"] is parked["detail"] is None


def test_what_has_not_changed_is_not_sent_again(root: APIClient, chat: Stream) -> None:
    """304 until the next commit, each for its own query."""
    first = root.get(CHAT)
    tag = first.headers["ETag"]
    assert "private" in first.headers["Cache-Control"]
    again = root.get(CHAT, HTTP_IF_NONE_MATCH=tag)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert root.get(f"{CHAT}?limit=2", HTTP_IF_NONE_MATCH=tag).status_code == 200
    commit(chat, {("message", "new"): message("x")})
    changed = root.get(CHAT, HTTP_IF_NONE_MATCH=tag)
    assert (changed.status_code, changed.headers["ETag"] == tag) == (200, False)


def test_tags_are_for_those_who_may_read(
    root: APIClient, chat: Stream, make_user: Any, configure: Any
) -> None:
    """A tag gives no access, and rows that a policy narrows have none."""
    tag = root.get(CHAT).headers["ETag"]
    client = APIClient()
    client.force_login(make_user(name="nobody"))
    assert client.get(CHAT, HTTP_IF_NONE_MATCH=tag).status_code == 404
    configure(POLICY="tests.rest.test_eyes.PopularMessages")
    assert "ETag" not in client.get(CHAT).headers
    assert client.get(CHAT, HTTP_IF_NONE_MATCH=tag).status_code == 200


@pytest.mark.parametrize("path", ["", "chat/", "chat/dead-letters/", "chat/parked-changes/"])
def test_what_changes_without_a_commit_has_a_tag_of_its_content(root: APIClient, path: str) -> None:
    """304 as long as the answer is the same; after another commit or letter it is sent."""
    apply("chat", [change("message", "1", text="x")])
    url = (
        f"{ROOT}{path}?fields=id,reason" if path.endswith("s/") else f"{ROOT}{path}?fields=ordinal"
    )
    first = root.get(url)
    tag = first.headers["ETag"]
    assert first.status_code == 200
    again = root.get(url, HTTP_IF_NONE_MATCH=tag)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)

    commit = {"subject": "s", "authored_at": "2026-01-01T00:00Z", "author": "missing"}
    apply("chat", [change("message", "2", text="x" * 60), change("commit", "c", **commit)])
    changed = root.get(url, HTTP_IF_NONE_MATCH=tag)
    assert (changed.status_code, changed.headers["ETag"] == tag) == (200, False)
    assert "ETag" not in root.get(url, HTTP_ACCEPT="text/html").headers


def test_streams_are_found_by_what_is_shown_of_them(root: APIClient) -> None:
    """By statuses that no column holds, and by whether they wait for a person."""
    at = {"url": "http://localhost/s", "up_to_date_at": timezone.now()}
    Stream.objects.create(name="a", status=Status.LIVE, paused=True, **at)
    Stream.objects.create(name="b", status=Status.HALTED, **at)
    Stream.objects.create(name="c", status=Status.CLOSED, **at)

    def names(query: str) -> list[str]:
        return [each["name"] for each in pages(root, f"{ROOT}?limit=1&fields=name&{query}")]

    assert names("status=paused") == ["a"]
    assert names("status=halted,closed") == names("status=closed&status=halted") == ["b", "c"]
    assert names("stuck=true") == ["b"]
    assert names("stuck=false&ordering=-name") == ["c", "a"]
    assert names("status=closed&stuck=true") == []
    assert names("status=&stuck=") == ["a", "b", "c"]
    wrong = root.get(f"{ROOT}?status=well")
    assert wrong.status_code == 400
    assert "'well' is not one of catching-up, closed, halted," in wrong.json()["status"][0]
    assert root.get(f"{ROOT}?stuck=1").status_code == 400
