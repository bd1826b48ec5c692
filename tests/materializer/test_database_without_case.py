"""A MySQL database that compares texts without case, as it does by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections
from django.test import override_settings

from durable_state.models import DeadLetter, ParkedChange, StagedChange
from durable_state.testing import apply
from tests.app.models import Author, File
from tests.app.state_mappings import FileMapping
from tests.mappings import remap
from tests.wire import END, RESET, START, change, commit_by

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "mysql"])


@contextmanager
def without_case() -> Iterator[None]:
    """Our own tables are recreated in a database whose collation is not an exact one."""
    ours = [StagedChange, ParkedChange, DeadLetter]
    connection = connections["mysql"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@collation_database")
        (before,) = cursor.fetchone()

    def make(collation: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"ALTER DATABASE `{connection.settings_dict['NAME']}` COLLATE {collation}"
            )
        with connection.schema_editor() as editor:
            for model in ours:
                editor.delete_model(model)
                editor.create_model(model)

    make("utf8mb4_general_ci")
    try:
        yield
    finally:
        make(before)


def test_types_that_differ_in_case_only() -> None:
    """Staged entities, letters and parked changes of one are not mixed up with the other's."""
    remap("file", None)
    remap("Author", FileMapping)
    file = {"blob": "b", "mode": "m", "commit": "c"}
    with without_case():
        apply(
            "h", [START, change("author", "a"), change("Author", "b", **file), END], using="mysql"
        )
        assert [author.key for author in Author.objects.using("mysql").all()] == ["a"]
        assert [each.path for each in File.objects.using("mysql").all()] == ["b"]
        # A snapshot that contains one type only leaves the other's letter.
        with override_settings(DURABLE_STATE={"SNAPSHOT_SCOPE": "types"}):
            apply(
                "h",
                [change("author", "x", commits="no"), START, change("Author", "c", **file), END],
                using="mysql",
            )
        assert [letter.type for letter in DeadLetter.objects.using("mysql").all()] == ["author"]
        assert [author.key for author in Author.objects.using("mysql").all()] == ["a"]


def test_parked_changes_of_types_that_differ_in_case_only() -> None:
    """A type that is shown anew forgets its own parked changes, not the other's."""
    remap("file", None)
    remap("Commit", FileMapping)
    file = {"blob": "b", "mode": "m", "commit": "c"}
    with without_case():
        with override_settings(DURABLE_STATE={"SNAPSHOT_SCOPE": "types"}):
            apply(
                "h", [commit_by("c", "a"), START, change("Commit", "f", **file), END], using="mysql"
            )
        assert [parked.key for parked in ParkedChange.objects.using("mysql").all()] == ["c"]
        apply("h", [RESET, commit_by("c", "a"), change("Commit", "f", **file)], using="mysql")
        assert [parked.key for parked in ParkedChange.objects.using("mysql").all()] == ["c"]
        assert [each.path for each in File.objects.using("mysql").all()] == ["f"]
