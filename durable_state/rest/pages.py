"""Pages by primary key: as fast at the millionth row as at the first."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination

__all__ = ["KeyPages"]


class KeyPages(CursorPagination):
    """Pages of 100 rows, or ``?limit=`` up to 1000; ``next`` and ``previous`` are links."""

    ordering = "pk"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000
