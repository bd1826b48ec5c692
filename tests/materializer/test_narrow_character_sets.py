"""A MariaDB database in utf8mb3: values that its columns cannot hold become letters, which we
can store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connections

from durable_state.checks import check_database
from durable_state.conversion import charsets
from durable_state.feed.rows import rows_by_key
from durable_state.models import DeadLetter, ParkedChange, StagedChange, Stream, TypeState
from durable_state.registry import registry
from durable_state.testing import apply
from tests.app.models import Author, File
from tests.wire import END, START, change

from .support.plans import forget_compiled

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "mysql"])

FACE = "\U0001f600"


@pytest.fixture
def narrow() -> Iterator[str]:
    """The alias of a database in utf8mb3 with all our tables."""
    connection = connections["mysql"]
    name, kept = f"narrow_{connection.settings_dict['NAME']}"[:60], connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb3 COLLATE utf8mb3_bin")
    connection.close()
    connection.settings_dict["NAME"] = name
    _forget()
    try:
        with connection.schema_editor() as editor:
            for label in ("contenttypes", "auth", "durable_state", "app"):
                for model in apps.get_app_config(label).get_models():
                    editor.create_model(model)
        yield "mysql"
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")
        connection.close()
        connection.settings_dict["NAME"] = kept
        _forget()


def _forget() -> None:
    charsets.forget_charsets()
    forget_compiled()


def file(key: str, blob: str = "b") -> dict[str, Any]:
    return change("file", key, blob=blob, mode="m", commit="c")


@pytest.mark.parametrize("staged", [False, True], ids=["shown", "staged"])
def test_a_character_that_the_column_does_not_have(narrow: str, staged: bool) -> None:
    """In a value, in a key, deleted by such a key; others beside it, with accents, are written."""
    messages = [file(f"k{n}") for n in range(40)]
    messages += [file("bad", f"a{FACE}"), file(FACE), file("é", "naïve ☃")]
    messages += [{"type": "file", "key": f"gone{FACE}", "headers": {"operation": "delete"}}]
    if staged:
        messages = [START, *messages, END]
    outcome = apply("h", messages, using=narrow)
    assert outcome.dead_letters == 3
    keys = set(File.objects.using(narrow).values_list("path", flat=True))
    assert keys == {f"k{n}" for n in range(40)} | {"é"}
    letters = {each.key: each for each in DeadLetter.objects.using(narrow)}
    reasons = {key: each.reason for key, each in letters.items()}
    assert reasons == {"bad": "invalid", FACE: "key", f"gone{FACE}": "key"}
    assert f"{FACE!r} (U+1F600)" in letters["bad"].detail
    assert "utf8mb3" in letters["bad"].detail
    assert apply("h", [file("bad", "good")], using=narrow) == (1, 0, 0)
    rows = File.objects.using(narrow).all()
    mapping = next(each for each in registry if each.entity_type == "file")
    assert set(rows_by_key(mapping, rows, [FACE, "é"])) == {"é"}  # a wish of anybody's


def test_our_own_tables_hold_every_character(narrow: str) -> None:
    """Types and keys of unmapped, parked and staged messages; errors, offsets."""
    child = change("commit", "c", author=FACE, subject="x", authored_at="2024-01-01T00:00:00Z")
    setting = {"type": "setting", "key": "s", "value": FACE, "headers": {"operation": "insert"}}
    unknown = change(f"type{FACE}", FACE, x=1)
    headers = {"operation": FACE}
    malformed = {"type": FACE, "key": FACE, "headers": headers}
    outcome = apply("h", [child, setting, unknown, malformed], using=narrow)
    assert outcome.dead_letters + outcome.parked == 2
    apply("h", [START, setting], using=narrow)
    assert StagedChange.objects.using(narrow).count() == 1
    assert TypeState.objects.using(narrow).filter(type=f"type{FACE}").exists()
    assert DeadLetter.objects.using(narrow).filter(key=FACE).exists()
    for parked in ParkedChange.objects.using(narrow):
        assert FACE in parked.detail
    stream = Stream.objects.using(narrow).get()
    stream.last_error = stream.action = stream.offset = FACE
    stream.save(using=narrow)
    stream.refresh_from_db()
    assert (stream.last_error, stream.action, stream.offset) == (FACE, FACE, FACE)
    assert not Author.objects.using(narrow).exists()


def test_the_check_names_the_columns(narrow: str) -> None:
    """W018, for each mapping with such a column."""
    found = [each for each in check_database(registry, [narrow]) if each.id == "durable_state.W018"]
    named = {each.obj.entity_type: each.msg for each in found}
    assert "'blob' (utf8mb3)" in named["file"]
    assert "'path' (utf8mb3)" in named["file"]
    assert "setting" in named  # its key; a JSON column holds everything
    assert "'data'" not in named["setting"]
    connections[narrow].settings_dict["OPTIONS"]["charset"] = "utf8mb3"
    try:
        found = check_database(registry, [narrow])
        assert "durable_state.W022" in {each.id for each in found}
    finally:
        connections[narrow].settings_dict["OPTIONS"]["charset"] = "utf8mb4"


def test_one_byte_to_the_character() -> None:
    """latin1 has no snowman, and no Cyrillic."""
    assert charsets.misfit("latin1", "naïve €") is None
    assert charsets.misfit("latin1", "ab☃") == "☃"
    assert charsets.misfit("cp1251", "да") is None
    assert charsets.misfit("ascii", "é") == "é"
    assert charsets.misfit("utf8mb3", "☃") is None
    assert charsets.misfit("utf8mb3", f"☃{FACE}") == FACE
