"""Pages by cursor: as fast at the millionth row as at the first."""

from __future__ import annotations

from typing import Any

from django.db import models
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

__all__ = ["KeyPages"]


class KeyPages(CursorPagination):
    """Pages of 100 rows, or ``?limit=`` up to 1000; ``next`` and ``previous`` are links.

    By primary key, or by the unique field that the view names as its ``page_order``.
    """

    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000

    def get_ordering(
        self, request: Request, queryset: models.QuerySet[Any], view: Any
    ) -> tuple[str, ...]:
        """The one field that rows are ordered by."""
        return (getattr(view, "page_order", "pk"),)
