"""The shipped translations: complete, up to date with the texts, and used."""

from __future__ import annotations

import gettext
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from durable_state.models import Status, Stream
from tests.servers.require import skip_or_fail

PACKAGE = Path(__file__).resolve().parent.parent / "durable_state"
LANGUAGES = sorted(path.name for path in (PACKAGE / "locale").iterdir())
PLACEHOLDER = re.compile(r"%\(\w+\)[sdr]|%d|%%|</?code>")
MORE = {
    "durable_state/stream/": {
        "de": "Was die Status bedeuten",
        "es": "Qué significan los estados",
        "fr": "Ce que signifient les statuts",
    },
    "durable_state/deadletter/": {
        "de": "Es gibt keine Dead Letters.",
        "es": "No hay mensajes fallidos.",
        "fr": "Il n’y a pas de lettres mortes.",
    },
}


def catalog(language: str, package: Path = PACKAGE) -> Catalog:
    """The source of a translation."""
    with (package / "locale" / language / "LC_MESSAGES" / "django.po").open("rb") as file:
        return read_po(file, locale=language)


def texts(message: Message) -> list[str]:
    """Of a message or a translation: one, or one for each plural form."""
    found = message.string
    return [found] if isinstance(found, str) else list(found or ())


def originals(found: Catalog) -> set[tuple[str, ...]]:
    """The translated texts, each with its plural."""
    ids = [message.id for message in found if message.id]
    return {(each,) if isinstance(each, str) else tuple(each) for each in ids}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language: str) -> None:
    """None is missing or fuzzy, and each has the placeholders of its original."""
    assert LANGUAGES == ["de", "es", "fr"]
    for message in catalog(language):
        if not message.id:
            continue
        original = message.id if isinstance(message.id, str) else message.id[-1]
        assert not message.fuzzy, original
        for text in texts(message):
            assert text, original
            wanted = sorted(PLACEHOLDER.findall(original))
            assert sorted(PLACEHOLDER.findall(text)) == wanted, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_translation_is_that_of_the_source(language: str) -> None:
    """``make messages`` was run after the last change."""
    with (PACKAGE / "locale" / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in catalog(language):
        if isinstance(message.id, str):
            assert not message.id or compiled.gettext(message.id) == texts(message)[0]
        else:
            one, many = message.id
            assert compiled.ngettext(one, many, 1) == texts(message)[0]
            assert compiled.ngettext(one, many, 2) == texts(message)[-1]


def test_no_text_was_added_or_changed_since(tmp_path: Path) -> None:
    """The texts of the code and the templates are those in the catalogs."""
    if shutil.which("xgettext") is None:
        skip_or_fail("there is no xgettext (GNU gettext)")
    package = tmp_path / "durable_state"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "locale"))
    (package / "locale").mkdir()
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--locale", "de"],
        cwd=package,
        check=True,
        capture_output=True,
    )
    now = originals(catalog("de", package))
    for language in LANGUAGES:
        assert originals(catalog(language)) == now, "run: make messages"


@pytest.mark.django_db
@pytest.mark.urls("tests.admin.support.urls")
@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_speak_the_readers_language(
    admin_client: Client, settings: Any, language: str
) -> None:
    """And numbers are written accordingly."""
    settings.LANGUAGE_CODE = language
    Stream.objects.create(name="chat", url="http://localhost/s", ordinal=1_234_567)
    for path, wanted in MORE.items():
        page = admin_client.get(f"/admin/{path}").content.decode()
        assert wanted[language] in page
        if "/stream/" in path:
            assert re.search(r"1[.\s\u00a0\u202f]234[.\s\u00a0\u202f]567", page)
            assert "1,234,567<" not in page


@pytest.mark.django_db
@pytest.mark.urls("tests.admin.support.urls")
def test_why_a_stream_waits_is_told_in_the_readers_language(
    admin_client: Client, settings: Any
) -> None:
    """Pages are translated; the command speaks English, like logs and stored errors."""
    settings.LANGUAGE_CODE = "de"
    hours_ago = timezone.now() - timedelta(hours=3)
    Stream.objects.create(
        name="chat",
        url="http://localhost/s",
        status=Status.LIVE,
        since=hours_ago,
        created_at=hours_ago,
        up_to_date_at=hours_ago,
    )
    page = admin_client.get("/admin/durable_state/stream/").content.decode()
    assert "Kein Worker seit 3 h" in page
    assert "Starten: manage.py durable_state run, oder ein Celery-Worker mit Beat" in page

    out = StringIO()
    with pytest.raises(CommandError, match=r"Stuck: chat \(no worker for 3 h\)"):
        call_command("durable_state", "status", stdout=out)
    assert "Start: manage.py durable_state run" in out.getvalue()
