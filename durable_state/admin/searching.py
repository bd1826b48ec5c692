"""Searching lists of any length: no search reads a whole table."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.text import smart_split, unescape_string_literal

__all__ = ["SEARCHED", "newest", "search_words"]

SEARCHED = 10_000
"""How many of the newest rows of a list are searched for words."""


def newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """The newest ``SEARCHED`` of the rows, by their primary key."""
    older = list(rows.order_by("-pk").values_list("pk", flat=True)[SEARCHED : SEARCHED + 1])
    return rows.filter(pk__gt=older[0]) if older else rows


def search_words(term: str) -> list[str]:
    """Splits a search as Django's own lists do: a quoted text is one word."""
    return [
        unescape_string_literal(word) if word[0] in "\"'" and word[0] == word[-1] else word
        for word in smart_split(term)
    ]
