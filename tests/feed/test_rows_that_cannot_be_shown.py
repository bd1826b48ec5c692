"""A row that cannot be read, or represented, costs only itself: in websocket, REST and admin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.models import signals
from django.test import Client as Browser

from durable_state.feed import LoggedChange, showing
from durable_state.testing import apply
from tests.app.models import Message
from tests.app.state_mappings import MessageMapping

from .support.commits import commit, commit_and_ring, make_stream, message
from .support.following import follow
from .support.pages import set_page_rows

pytestmark = pytest.mark.django_db(transaction=True)


def on_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The field cannot read what the column holds."""

    def from_db_value(self: Any, value: Any, *rest: Any) -> Any:
        if value == "bad":
            raise LookupError("no such key")
        return value

    field = Message._meta.get_field("text")
    monkeypatch.setattr(type(field), "from_db_value", from_db_value, raising=False)


def on_making_an_instance(_monkeypatch: pytest.MonkeyPatch) -> None:
    """Like Django's ImageField, for the width of a file that is elsewhere."""

    def look(instance: Any, **kwargs: Any) -> None:
        if instance.text == "bad":
            raise FileNotFoundError("photos/bad.png")

    signals.post_init.connect(look, sender=Message, weak=False, dispatch_uid="look")


def on_representing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mapping's own code fails."""
    original = MessageMapping.represent

    def represent(self: Any, row: Any) -> Any:
        return 1 / 0 if row.text == "bad" else original(self, row)

    monkeypatch.setattr(MessageMapping, "represent", represent)


@pytest.fixture(params=[on_reading, on_making_an_instance, on_representing])
def fragile(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """Call it: from then on, a message whose text is "bad" cannot be shown."""
    monkeypatch.setattr(showing, "_said", {})
    yield lambda: request.param(monkeypatch)
    signals.post_init.disconnect(sender=Message, dispatch_uid="look")


async def test_subscribers_get_all_other_rows(
    fragile: Callable[[], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In pages, one of which ends with such a row and one of which has no other, and live; of
    every type.
    """
    set_page_rows(monkeypatch, 3)
    stream = await sync_to_async(make_stream)()
    bad = {2, 3, 4, 5, 9}
    texts = {f"k{n}": message("bad" if n in bad else "good") for n in range(11)}
    changes = {("message", key): text for key, text in texts.items()}
    await commit_and_ring(stream, changes | {("setting", "s"): 1})
    fragile()
    good = {name: value for name, value in changes.items() if value["text"] == "good"}
    async with follow(stream) as follower:
        client = await follower.until_revision(1)
        assert client.state == good | {("setting", "s"): 1}
        await sync_to_async(_update)(stream.name, k0="bad", k1="new", k2="mended")
        tell = [LoggedChange("message", key, "update") for key in ("k0", "k1", "k2")]
        await commit_and_ring(stream, {("setting", "s"): 2}, tell=tell)
        client = await follower.until_revision(2)
    expected = good | {("setting", "s"): 2}
    expected |= {("message", "k1"): message("new"), ("message", "k2"): message("mended")}
    del expected["message", "k0"]
    assert client.state == expected
    said = [record for record in caplog.records if "cannot be shown" in record.message]
    assert len(said) == 1
    assert "app.Message" in said[0].message


def _update(room: str, **texts: str) -> None:
    """By SQL, so that no row is read."""
    for key, text in texts.items():
        Message.objects.filter(room=room, key=key).update(text=text)


def test_rest_answers_with_all_other_rows(
    fragile: Callable[[], None], admin_client: Browser
) -> None:
    """A page leaves such a row out and leads to the next page; the row itself is not found."""
    stream = make_stream()
    commit(
        stream,
        {("message", f"k{n}"): message("bad" if n in (1, 2, 3) else "good") for n in range(7)},
    )
    fragile()
    url: str | None = "/api/state/streams/chat/entities/message/?limit=2"
    found: list[str] = []
    while url is not None:
        page = admin_client.get(url).json()
        found += [each["key"] for each in page["results"]]
        url = page["next"]
    assert found == ["k0", "k4", "k5", "k6"]
    single = "/api/state/streams/chat/entities/message/?key="
    assert admin_client.get(f"{single}k1").status_code == 404
    assert admin_client.get(f"{single}k4").json()["key"] == "k4"


@pytest.mark.urls("tests.admin.support.urls")
@pytest.mark.parametrize("fail", [on_reading, on_making_an_instance])
def test_the_admin_lists_all_other_rows(
    fail: Callable[..., None], admin_client: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list says how many it leaves out; the page of such a row says why."""
    apply(
        "chat",
        [
            {
                "type": "message",
                "key": key,
                "value": {"text": text},
                "headers": {"operation": "insert"},
            }
            for key, text in [("one", "good"), ("two", "bad"), ("three", "good")]
        ],
    )
    pks = dict(Message.objects.values_list("key", "pk"))
    try:
        fail(monkeypatch)
        page = admin_client.get("/admin/app/message/").content.decode()
        assert "1 of these rows cannot be shown" in page
        assert ">one</a>" in page
        assert ">three</a>" in page
        assert ">two</a>" not in page
        answer = admin_client.get(f"/admin/app/message/{pks['two']}/change/", follow=True)
        assert "cannot be shown" in answer.content.decode()
        assert admin_client.get(f"/admin/app/message/{pks['one']}/change/").status_code == 200
    finally:
        signals.post_init.disconnect(sender=Message, dispatch_uid="look")
