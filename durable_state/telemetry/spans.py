"""Spans for OpenTelemetry, by its API package; the project chooses who collects them."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

try:
    from opentelemetry import trace
except ImportError:  # it comes with the extra `tracing`
    _TRACER = None
else:
    # A stand-in until the project sets its provider, which may be later.
    _TRACER = trace.get_tracer("durable_state")

__all__ = ["span"]


def _is_uncollected() -> bool:
    """Whether the project has set no provider: spans would cost as much, and reach nobody."""
    return type(trace.get_tracer_provider()) is trace.ProxyTracerProvider


def span(name: str, stream_name: str, messages: int) -> AbstractContextManager[Any]:
    """A span around what the block does for a stream; an error that leaves it is recorded."""
    if _TRACER is None or _is_uncollected():
        return contextlib.nullcontext()
    attributes: dict[str, str | int] = {
        "durable_state.stream": stream_name,
        "durable_state.messages": messages,
    }
    return _TRACER.start_as_current_span(f"durable-state {name}", attributes=attributes)
