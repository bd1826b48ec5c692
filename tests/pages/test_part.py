"""What the tag renders, and what the middleware sends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from durable_state.models import FeedEntry, Stream
from durable_state.pages import PART_HEADER, Part
from durable_state.testing import apply
from tests.app.models import Message
from tests.wire import message

from .support.templates import templates

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    """A reader of messages."""
    user = User.objects.create_user("ada")
    user.user_permissions.add(Permission.objects.get(codename="view_message"))
    return user


@pytest.fixture
def client(ada: User) -> Iterator[Client]:
    """Signed in, on a site with the middleware and the templates."""
    with override_settings(
        ROOT_URLCONF="tests.pages.support.urls",
        MIDDLEWARE=[*settings.MIDDLEWARE, "durable_state.pages.LivePartMiddleware"],
        TEMPLATES=templates(),
    ):
        made = Client()
        made.force_login(ada)
        yield made


def age_the_log() -> None:
    """Makes it older than anything a view may have read before."""
    FeedEntry.objects.update(created_at=timezone.now() - timedelta(minutes=1))


def told(html: str, part: str) -> dict[str, Any]:
    """The attributes of a part's element."""
    for found in re.findall(r'data-live="([^"]+)"', html):
        config: dict[str, Any] = json.loads(found.replace("&quot;", '"').replace("&amp;", "&"))
        if config["part"] == part:
            return config
    raise AssertionError(f"no part {part} in {html}")


def ask(client: Client, url: str, *parts: str, etag: str = "") -> HttpResponse:
    headers = {PART_HEADER: ",".join(parts)} | ({"If-None-Match": etag} if etag else {})
    return client.get(url, headers=headers)  # type: ignore[return-value]


def test_a_part_says_what_to_follow(client: Client) -> None:
    """Its own position in the stream, and what it depends on; the content is as in the template."""
    apply("chat", [message("m1", "one")])
    age_the_log()
    page = client.get("/board/?page=2").content.decode()
    assert '<div class="board" id="board" data-live="' in page
    assert '<li data-key="m1"><span>one</span>' in page
    config = told(page, "board")
    stream = Stream.objects.get(name="chat")
    assert config["url"] == "/board/?page=2"
    assert config["follow"][0] == {
        "stream": "chat",
        "types": ["message"],
        "keys": None,
        "offset": config["follow"][0]["offset"],
    }
    assert config["follow"][0]["offset"].endswith(f".{stream.revision}")
    assert page.count('<script type="module" src="/static/durable_state/live-parts.js"') == 2


def test_what_was_just_committed_counts_as_not_shown(client: Client) -> None:
    """The view may have read its rows before."""
    apply("chat", [message("m1", "one")])
    age_the_log()
    shown = Stream.objects.get(name="chat").revision
    apply("chat", [message("m2", "two")])
    config = told(client.get("/board/").content.decode(), "board")
    assert config["follow"][0]["offset"].endswith(f".{shown}")


def test_only_the_part_is_sent(client: Client) -> None:
    """With the context of the view; no cache may keep it in place of the page."""
    apply("chat", [message("m1", "one")])
    answer = ask(client, "/board/", "total")
    assert re.fullmatch(
        r'<template><div id="total" data-live="[^"]+"><b>1</b></div></template>',
        answer.content.decode(),
    )
    assert answer[PART_HEADER] == "total"
    assert answer["Cache-Control"] == "no-store"
    assert PART_HEADER in answer["Vary"]
    assert PART_HEADER in client.get("/board/")["Vary"]
    both = ask(client, "/board/", "board", "total").content.decode()
    assert "one" in both
    assert "<b>1</b>" in both
    assert "Board" not in both


def test_messages_of_the_page_are_kept_for_the_page(client: Client) -> None:
    """Django shows each message once; a request for a part that shows none does not use any up."""
    apply("chat", [message("m1", "one")])
    client.get("/plain/?say=hello")
    assert ask(client, "/told/", "told").headers[PART_HEADER] == "told"
    assert "<main>hello</main>" in client.get("/told/").content.decode()
    assert "<main></main>" in client.get("/told/").content.decode()
    client.get("/plain/?say=hello")
    assert "hello" in ask(client, "/told/?show", "telling").content.decode()
    assert "<main></main>" in client.get("/told/").content.decode()


def test_a_part_that_is_not_there_is_answered_by_the_page(client: Client) -> None:
    """Then the script looks for it itself."""
    apply("chat", [message("m1", "one")])
    answer = ask(client, "/board/", "total", "elsewhere")
    assert PART_HEADER not in answer
    assert "<h1>Board</h1>" in answer.content.decode()


def test_nothing_is_rendered_where_no_stream_went_on(client: Client) -> None:
    """304 by the revisions; not to another user, nor for another page, nor after a commit."""
    apply("chat", [message("m1", "one")])
    age_the_log()
    etag = ask(client, "/board/", "board", "total")["ETag"]
    assert ask(client, "/board/", "board", "total", etag=etag).status_code == 304
    assert ask(client, "/board/", "board", "total", etag=f"W/{etag}").status_code == 304
    assert ask(client, "/board/", "board", etag=etag).status_code == 200
    assert ask(client, "/board/?page=2", "board", "total", etag=etag).status_code == 200
    other = Client()
    other.force_login(User.objects.create_superuser("grace"))
    assert ask(other, "/board/", "board", "total", etag=etag).status_code == 200
    apply("chat", [message("m2", "two")])
    assert ask(client, "/board/", "board", "total", etag=etag).status_code == 200
    made_up = etag.replace("-", "-9")  # another revision, under the seal of this one
    for nonsense in (made_up, '"', '"board:,total:"', '"board:x.1-2,total:x.1"', "*"):
        assert ask(client, "/board/", "board", "total", etag=nonsense).status_code == 200


def test_who_is_signed_out_is_led_to_the_login(client: Client) -> None:
    """As from the page itself, even if nothing has changed."""
    apply("chat", [message("m1", "one")])
    age_the_log()
    etag = ask(client, "/board/", "board")["ETag"]
    client.logout()
    assert ask(client, "/board/", "board", etag=etag).status_code == 302


def test_a_stream_that_may_not_be_read_is_not_followed(client: Client, ada: User) -> None:
    """The view decides about the content; the page only learns that it is not updated."""
    apply("chat", [message("m1", "one")])
    ada.user_permissions.clear()
    page = client.get("/board/").content.decode()
    assert 'data-live-off="not-readable"' in page
    assert "data-live=" not in page
    assert "<span>one</span>" in page
    client.logout()
    assert (
        'id="total" data-live-off="not-readable"' in client.get("/public/board/").content.decode()
    )


def test_parts_nest_and_take_any_element(client: Client) -> None:
    """A stream may be a variable; an unknown one is identified by its number only."""
    apply("chat", [message("m1", "one")])
    page = client.get("/room/").content.decode()
    assert '<section aria-live="polite" id="inner" data-live="' in page
    inner = told(page, "inner")
    assert [(each["stream"], each["keys"]) for each in inner["follow"]] == [("chat", ["m1"])]
    assert inner["unreadable"] == 1
    assert "chat-2" not in page
    assert told(page, "room")["unreadable"] == 0
    assert 'id="inner"' in ask(client, "/room/", "room").content.decode()


def test_parts_in_a_loop_have_names_of_their_own(client: Client) -> None:
    """The same ones each time."""
    apply("chat", [message("m1", "one"), message("m2", "two")])
    names = [
        re.findall(r"&quot;part&quot;:&quot;(live-[0-9a-f-]+)&quot;", page.content.decode())
        for page in (client.get("/loop/"), client.get("/loop/"))
    ]
    assert names[0] == names[1]
    assert len(set(names[0])) == 2


def render(text: str, **context: Any) -> str:
    return Template("{% load durable_state %}" + text).render(Context(context))


def test_pages_that_cannot_be_asked_for_again_are_rendered_only() -> None:
    """Those that answer a POST, and templates without their request."""
    posted = RequestFactory().post("/")
    part = '{% live "chat" %}text{% endlive %}'
    assert '<div data-live-off="not-by-get">text</div>' in render(part, request=posted)
    assert '<div data-live-off="no-request">text</div>' in render(part)


def test_a_nonce_reaches_the_scripts() -> None:
    """For a content security policy that requires one."""
    page = render('{% live "chat" %}{% endlive %}', csp_nonce="abc")
    assert page.count("<script") == page.count('nonce="abc"') == 2


def test_scripts_need_no_other_name_than_a_storage_gives_them(tmp_path: Path) -> None:
    """Django's storage with hashes in the names does not rewrite imports, and some sites keep
    only the files with a hash.
    """
    storage = {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}
    with override_settings(STATIC_ROOT=tmp_path, STORAGES={"staticfiles": storage}):
        call_command("collectstatic", interactive=False, verbosity=0)
        page = render('{% live "chat" %}{% endlive %}')
    named = re.findall(r'"/static/([^"]+[.]js)"', page)
    assert [each.split(".")[0] for each in named] == [
        f"durable_state/{name}" for name in ("rendered", "live-parts", "client", "morph")
    ]
    for each in named:
        assert re.search(r"[.][0-9a-f]{12}[.]js$", each)
        assert not re.search(r"""(from|import)\s*[(]?\s*["'][./]""", (tmp_path / each).read_text())


@pytest.mark.parametrize(
    "mistake", ["{% live %}", '{% live types="a" %}', '{% live "a" b=1 "c" %}']
)
def test_mistakes_are_told(mistake: str) -> None:
    """By the name of what the tag needs."""
    with pytest.raises(TemplateSyntaxError, match=r"needs a stream|does not understand"):
        Template("{% load durable_state %}" + mistake + "{% endlive %}")


@pytest.mark.parametrize("tag", ["div onload=x", "script>", "a:b", "1"])
def test_what_names_no_element_is_refused(tag: str) -> None:
    """A variable may hold anything, and a tag is not escaped."""
    with pytest.raises(TemplateSyntaxError, match="cannot make an element"):
        render('{% live "chat" tag=tag %}{% endlive %}', tag=tag)


def test_no_queries_grow_with_the_log(ada: User, django_assert_max_num_queries: Any) -> None:
    """A part queries its streams, what the user may see, and the log's newest entries."""
    apply("chat", [message(f"m{place}", "x") for place in range(5)])
    request: HttpRequest = RequestFactory().get("/")
    request.user = ada
    ada.has_perm("app.view_message")
    with django_assert_max_num_queries(4):
        part = Part.of(request, "a", ["chat"], [], [])
    assert len(part.follow) == 1
    assert Message.objects.count() == 5
    request.user = AnonymousUser()
    assert Part.of(request, "a", ["chat"], [], []).follow == []
