"""JSON's null and NULL: both read as None, but they are not the same."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state import EntityMapping
from durable_state.testing import apply
from tests.app.models import AllFields
from tests.mappings import remap
from tests.wire import change

pytestmark = pytest.mark.usefixtures("writer")


class DocumentMapping(EntityMapping):
    """A nullable and a required document, and a number beside them."""

    model = AllFields
    key_field = "char"
    fields = {"document": "nullable", "required_document": "required", "integer": "integer"}


def nulls(using: str) -> dict[str, tuple[bool, bool]]:
    """By key, whether the nullable column holds NULL, and whether the required one holds JSON's
    null.
    """
    rows = AllFields.objects.using(using)
    without = set(rows.filter(document__isnull=True).values_list("char", flat=True))
    return {
        str(row.char): (row.char in without, row.required_document is None) for row in rows.all()
    }


@pytest.mark.parametrize("together", [True, False])
def test_what_is_left_out_is_not_null(database: str, together: bool) -> None:
    """However the changes arrive, the newest decides which of the two it is."""
    remap("doc", DocumentMapping)
    messages: list[dict[str, Any]] = [
        change("doc", "a", integer=1),
        change("doc", "a", integer=1, nullable=None, required=None),
        change("doc", "b", integer=1, nullable=None),
        change("doc", "b", integer=1),
    ]
    for batch in [messages] if together else [[message] for message in messages]:
        apply("j", batch, using=database)
    assert nulls(database) == {"a": (False, True), "b": (True, False)}


def test_a_merge_leaves_both_as_they_are(database: str) -> None:
    """Even if an update names another field only."""
    remap("doc", DocumentMapping, update_mode="merge")
    apply(
        "j",
        [
            change("doc", "a", integer=1, nullable=None, required=None),
            change("doc", "b", integer=1),
        ],
        using=database,
    )
    assert nulls(database) == {"a": (False, True), "b": (True, False)}
    apply("j", [change("doc", key, "update", integer=2) for key in "ab"], using=database)
    assert set(AllFields.objects.using(database).values_list("integer", flat=True)) == {2}
    assert nulls(database) == {"a": (False, True), "b": (True, False)}
