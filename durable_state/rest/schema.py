"""OpenAPI descriptions, if drf-spectacular is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from durable_state.models import STREAM_NAME

__all__ = ["describe"]

_REFUSALS = {
    400: "The query is not valid; the answer says which part.",
    401: "Not signed in.",
    403: "Not signed in, or a permission is missing.",
    404: "It does not exist, or you may not see it.",
}

_PATTERNS = {"name": f"^{STREAM_NAME}$", "entity_type": "^.+$"}
"""The path parameters."""

View = TypeVar("View", bound=Callable[..., Any])


def describe(
    *,
    path: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    examples: Iterable[dict[str, Any]] = (),
    responses: Any = None,
    refusals: Iterable[int] = (400, 401, 403, 404),
    **described: Any,
) -> Callable[[View], View]:
    """Describes a view's method in the OpenAPI schema: its text parameters, its answers with
    examples, its error codes, and anything else that ``extend_schema`` takes.
    """
    try:
        from drf_spectacular.types import OpenApiTypes
        from drf_spectacular.utils import (
            OpenApiExample,
            OpenApiParameter,
            OpenApiResponse,
            extend_schema,
        )
    except ImportError:
        return lambda view: view
    parameters = [
        OpenApiParameter(
            name, str, OpenApiParameter.PATH, description=text, pattern=_PATTERNS.get(name)
        )
        for name, text in (path or {}).items()
    ]
    parameters += [
        OpenApiParameter(name, str, OpenApiParameter.QUERY, description=text)
        for name, text in (query or {}).items()
    ]
    shown = [OpenApiExample(**each, response_only=True, status_codes=["200"]) for each in examples]
    answers = dict(responses) if isinstance(responses, dict) else {200: responses}
    for code in refusals:
        answers[code] = OpenApiResponse(OpenApiTypes.OBJECT, description=_REFUSALS[code])
    return extend_schema(parameters=parameters, examples=shown, responses=answers, **described)
