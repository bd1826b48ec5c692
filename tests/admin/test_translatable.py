"""The pages can be translated: all their texts come from gettext."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from durable_state.models import DeadLetter, FeedEntry, Stream
from durable_state.registry import registry
from durable_state.testing import apply
from tests.wire import message

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.support.urls")]

ADMIN = "/admin/durable_state/"


def words(text: str) -> set[str]:
    """Words of at least three letters."""
    return set(re.findall(r"[a-z]{3,}", text.lower()))


DATA = {
    "chat",
    "http",
    "tests",
    "test",
    "sse",
    "long",
    "poll",
    "webhook",
    "pull",
    "wake",
    "invalid",
    "text",
    "likes",
    "edited",
    "admin",
} | {word for mapping in registry for word in words(f"{mapping.entity_type} {mapping.label}")}
"""Words that are data."""


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks every translated text with braces."""
    translation.gettext("load the real one first")
    trans: Any = vars(translation)["_trans"]
    monkeypatch.setattr(trans, "gettext", lambda text: f"⟦{text}⟧")
    monkeypatch.setattr(
        trans, "ngettext", lambda one, many, count: f"⟦{one if count == 1 else many}⟧"
    )


def untranslated(page: str, known: str) -> set[str]:
    """The words of a page's content outside of braces, without data and ``known``."""
    content = page.partition('id="content"')[2].partition("<footer")[0].partition(">")[2]
    content = re.sub(r"<(script|style|svg).*?</\1>", " ", content, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]*>", " ", content))
    while "⟦" in text:
        text, before = re.sub(r"⟦[^⟦⟧]*⟧", " ", text), text
        assert text != before, "a text was cut"
    return words(text) - DATA - words(known)


def test_every_word_of_ours_is_translated(admin_client: Client, marked: None) -> None:
    """Lists, pages and confirmation pages."""
    apply("chat", [message("m1", "text"), message("m2", "x" * 60)])
    stream, letter, entry = Stream.objects.get(), DeadLetter.objects.get(), FeedEntry.objects.get()
    known = f"{letter.detail} {bytes(entry.changes).decode()}"
    for path in (
        "stream/",
        f"stream/{stream.pk}/change/",
        f"stream/{stream.pk}/edit/",
        "stream/add/",
        "deadletter/",
        "parkedchange/",
        f"feedentry/{entry.pk}/change/",
        "lease/",
        "seat/",
    ):
        page = admin_client.get(f"{ADMIN}{path}").content.decode()
        assert untranslated(page, known) == set(), path
    for path, pk, verbs in (
        ("stream/", stream.pk, ("pause", "resume", "reset", "cancel_reset", "verify", "remove")),
        ("deadletter/", letter.pk, ("retry", "discard")),
    ):
        for verb in verbs:
            asked = {"action": verb, "_selected_action": pk, "index": "0"}
            page = admin_client.post(f"{ADMIN}{path}", asked).content.decode()
            assert untranslated(page, known) == set(), verb
