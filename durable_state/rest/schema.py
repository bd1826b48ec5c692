"""OpenAPI by drf-spectacular where that is installed; nothing otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["describe"]

View = TypeVar("View", bound=Callable[..., Any])


def describe(
    *, path: dict[str, str] | None = None, query: dict[str, str] | None = None, **described: Any
) -> Callable[[View], View]:
    """Describes a view's method in the OpenAPI schema:
    its text parameters, and what ``extend_schema`` takes besides.
    """
    try:
        from drf_spectacular.utils import OpenApiParameter, extend_schema
    except ImportError:
        return lambda view: view
    parameters = [
        OpenApiParameter(name, str, OpenApiParameter.PATH, description=text)
        for name, text in (path or {}).items()
    ]
    parameters += [
        OpenApiParameter(name, str, OpenApiParameter.QUERY, description=text)
        for name, text in (query or {}).items()
    ]
    return extend_schema(parameters=parameters, **described)
