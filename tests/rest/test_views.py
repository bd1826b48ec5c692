"""The REST views: what they answer, and to whom."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from durable_state.models import DeadLetter, Status, Stream, TableOwner
from durable_state.operations import report
from durable_state.testing import apply
from tests import leases
from tests.app.models import Author, Commit, Score
from tests.feed.support.commits import commit, make_stream, message
from tests.following import follow, leave

pytestmark = pytest.mark.django_db

ROOT = "/api/state/"


@pytest.fixture
def api(make_user: Any) -> Any:
    """A client signed in as a new user with some permissions ("app.view_message")."""
    names = (f"user{n}" for n in itertools.count())

    def signed_in(*permissions: str, superuser: bool = False) -> APIClient:
        client = APIClient()
        client.force_login(make_user(*permissions, name=next(names), superuser=superuser))
        return client

    return signed_in


def test_streams_are_shown_as_status_shows_them(api: Any) -> None:
    """The list and the single stream give the dict of `status --json`,
    with the URL's query masked.
    """
    stream = Stream.objects.create(name="chat", url="https://host.test/x?token=secret")
    make_stream("another")
    client = api(superuser=True)
    listed = client.get(f"{ROOT}streams/").json()["results"]
    assert [each["name"] for each in listed] == ["another", "chat"]
    single = client.get(f"{ROOT}streams/chat/").json()
    expected = report(stream).to_json()
    assert single.keys() == expected.keys() == listed[1].keys()
    assert {**single, "lag_seconds": 0} == {**expected, "lag_seconds": 0}
    assert "secret" not in str(listed) + str(single)


def test_entities_come_in_pages(api: Any) -> None:
    """Every entity once, in pages that link to each other, with the value that websockets show."""
    stream, other = make_stream(), make_stream("other")
    commit(stream, {("message", f"k{n}"): message("x", n) for n in range(25)})
    commit(other, {("message", "elsewhere"): message("x")})
    client, url = api("app.view_message"), f"{ROOT}streams/chat/entities/message/?limit=10"
    found: dict[str, Any] = {}
    pages = 0
    while url is not None:
        page = client.get(url).json()
        found |= {each["key"]: each["value"] for each in page["results"]}
        url, pages = page["next"], pages + 1
    assert pages == 3
    assert found == {f"k{n}": message("x", n) for n in range(25)}


def test_one_entity_by_key(api: Any) -> None:
    """`?key=` gives the entity itself; a key that no row has, or that the key field cannot hold,
    is not found.
    """
    stream = make_stream()
    commit(stream, {("message", "a/b c"): message("x")})
    Score.objects.create(stream=stream, number=7, points=3, label="#7")
    client = api(superuser=True)
    single = client.get(f"{ROOT}streams/chat/entities/message/", {"key": "a/b c"})
    assert single.json() == {"type": "message", "key": "a/b c", "value": message("x")}
    assert client.get(f"{ROOT}streams/chat/entities/score/", {"key": "7"}).json()["value"] == {
        "points": 3,
        "label": "#7",
    }
    for entity_type, key in [
        ("message", "A/B C"),
        ("score", "007"),
        ("score", "x"),
        ("score", "9" * 30),
        ("message", "\0"),
        ("message", ""),
    ]:
        assert (
            client.get(f"{ROOT}streams/chat/entities/{entity_type}/", {"key": key}).status_code
            == 404
        )


def test_pages_ask_for_parents_once(api: Any, django_assert_max_num_queries: Any) -> None:
    """A page costs the same number of queries however many rows it has."""
    TableOwner.objects.create(model="app.commit", stream=make_stream())
    author = Author.objects.create(key="ada")
    for n in range(50):
        Commit.objects.create(key=str(n), author=author, subject="x", authored_at=timezone.now())
    client = api(superuser=True)
    with django_assert_max_num_queries(5):
        page = client.get(f"{ROOT}streams/chat/entities/commit/").json()
    assert [each["value"]["author"] for each in page["results"]] == ["ada"] * 50


def test_what_may_not_be_read_is_not_there(api: Any) -> None:
    """Streams, types and letters of others look as if they did not exist."""
    stream = make_stream()
    commit(stream, {("message", "a"): message("x"), ("setting", "s"): 1})
    client = api()
    assert client.get(f"{ROOT}streams/").json()["results"] == []
    for path in ("", "entities/message/", "dead-letters/"):
        assert client.get(f"{ROOT}streams/chat/{path}").status_code == 404
    client = api("app.view_message")
    assert client.get(f"{ROOT}streams/chat/").status_code == 200
    assert client.get(f"{ROOT}streams/chat/entities/message/").status_code == 200
    for path in (
        "chat/entities/setting/",
        "chat/entities/unknown/",
        "missing/",
        "missing/entities/message/",
    ):
        assert client.get(f"{ROOT}streams/{path}").status_code == 404


def test_a_table_is_shown_by_the_stream_it_belongs_to(api: Any) -> None:
    """Another stream does not show rows of a table without stream field, nor are they shown
    before any stream has taken the table.
    """
    owner, _ = make_stream("owner"), make_stream("other")
    Author.objects.create(key="ada")
    client = api(superuser=True)

    def listed(name: str) -> list[str]:
        return [
            each["key"]
            for each in client.get(f"{ROOT}streams/{name}/entities/author/").json()["results"]
        ]

    assert listed("owner") == listed("other") == []
    TableOwner.objects.create(model="app.author", stream=owner)
    assert (listed("owner"), listed("other")) == (["ada"], [])


def test_nobody_is_asked_to_sign_in() -> None:
    """Anonymous callers learn nothing, not even which streams exist."""
    make_stream()
    for path in (
        "streams/",
        "streams/chat/",
        "streams/missing/",
        "streams/chat/entities/message/",
        "streams/chat/dead-letters/",
    ):
        assert APIClient().get(f"{ROOT}{path}").status_code in (401, 403)


def test_browsers_are_shown_pages(api: Any) -> None:
    """DRF's browsable pages work if a project has them enabled."""
    stream = make_stream()
    commit(stream, {("message", f"k{n}"): message("<marquee>") for n in range(3)})
    client = api(superuser=True)
    for path in (
        "streams/",
        "streams/chat/",
        "streams/chat/entities/message/?limit=2",
        "streams/chat/dead-letters/",
        "health/",
    ):
        answer = client.get(f"{ROOT}{path}", HTTP_ACCEPT="text/html")
        assert (answer.status_code, answer.headers["Content-Type"][:9]) == (200, "text/html")
        assert b"<marquee>" not in answer.content


def test_nothing_can_be_written(api: Any) -> None:
    """The views are read-only."""
    make_stream()
    client = api(superuser=True)
    for method in ("post", "put", "patch", "delete"):
        assert getattr(client, method)(f"{ROOT}streams/chat/").status_code == 405


def test_dead_letters_need_their_own_permission(api: Any) -> None:
    """Permission to read the stream's rows does not include refused messages; letters of staged
    states are not shown.
    """
    stream = make_stream()
    for ordinal, generation in ((1, 0), (2, 0), (3, 5)):
        DeadLetter.objects.create(
            stream=stream,
            generation=generation,
            entity=str(ordinal),
            ordinal=ordinal,
            type="message",
            key="a",
            reason="null",
            body=b'{"\xff',
        )
    assert api("app.view_message").get(f"{ROOT}streams/chat/dead-letters/").status_code == 403
    client = api("app.view_message", "durable_state.view_deadletter")
    page = client.get(f"{ROOT}streams/chat/dead-letters/").json()
    assert [(each["ordinal"], each["reason"], each["message"]) for each in page["results"]] == [
        (1, "null", '{"\\xff'),
        (2, "null", '{"\\xff'),
    ]


def test_health(api: Any) -> None:
    """503 if any stream is stuck; anonymous users get the status code and nothing else."""
    stream = make_stream()
    client = api("app.view_message")
    answer = client.get(f"{ROOT}health/")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "stuck": []})
    Stream.objects.filter(pk=stream.pk).update(
        status=Status.HALTED, last_error="no", since=timezone.now() - datetime.timedelta(hours=1)
    )
    answer = client.get(f"{ROOT}health/")
    assert answer.status_code == 503
    assert [each["name"] for each in answer.json()["stuck"]] == ["chat"]
    for accept in ("application/json", "text/html"):
        anonymous = APIClient().get(f"{ROOT}health/", HTTP_ACCEPT=accept)
        assert (anonymous.status_code, anonymous.content) == (503, b"")
    answer = api().get(f"{ROOT}health/")
    assert (answer.status_code, answer.json()) == (503, {"status": "stuck", "stuck": []})


def test_health_follows_the_worker(api: Any) -> None:
    """A quiet stream is healthy while somebody follows it, or if it was left at its tail on
    purpose.
    """
    long_ago = timezone.now() - datetime.timedelta(hours=2)
    stream = Stream.objects.create(
        name="quiet",
        url="https://host.test/x",
        status=Status.LIVE,
        since=long_ago,
        created_at=long_ago,
        up_to_date_at=long_ago,
    )
    client = api(superuser=True)

    answer = client.get(f"{ROOT}health/")
    assert answer.status_code == 503
    [told] = answer.json()["stuck"]
    assert (told["status"], told["stuck"], told["holder"]) == ("no-worker", True, "")
    assert told["why"].startswith("no worker for 2 h")
    assert "durable_state run" in told["action"]

    token = follow(stream, "elsewhere:1:celery:x")
    assert client.get(f"{ROOT}health/").status_code == 200
    assert client.get(f"{ROOT}streams/quiet/").json()["holder"] == "elsewhere:1:celery:x"
    leave(stream, token)
    assert client.get(f"{ROOT}health/").status_code == 200

    leave(stream, follow(stream), at_tail=True)
    leases.was_seen(long_ago)
    assert client.get(f"{ROOT}health/").status_code == 200
    shown = client.get(f"{ROOT}streams/quiet/").json()
    assert (shown["status"], shown["stuck"]) == ("up-to-date", False)


def test_health_of_a_stream_of_which_nothing_is_mapped(api: Any) -> None:
    """It is not healthy, and every message is accounted for."""
    apply("odd", [{"type": "messages", "key": "1", "headers": {"operation": "delete"}}])
    answer = api(superuser=True).get(f"{ROOT}health/")
    assert answer.status_code == 503
    [told] = answer.json()["stuck"]
    assert (told["status"], told["ordinal"], told["unregistered"]) == ("unmapped", 1, 1)
    assert 'did you mean @register("messages")?' in told["why"]
