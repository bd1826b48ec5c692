"""The OpenAPI schema of the views, made by drf-spectacular."""

from __future__ import annotations

import sys

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from durable_state.rest.schema import describe


def test_the_schema_is_complete_and_without_warnings() -> None:
    """Every view is in it, and nothing had to be guessed."""
    with GENERATOR_STATS.silence():
        schema = SchemaGenerator().get_schema(request=None, public=True)
        assert not GENERATOR_STATS, [
            str(key) for key in (*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache)
        ]
    validate_schema(schema)
    assert set(schema["paths"]) == {
        "/api/state/streams/",
        "/api/state/streams/{name}/",
        "/api/state/streams/{name}/entities/{entity_type}/",
        "/api/state/streams/{name}/dead-letters/",
        "/api/state/streams/{name}/feed/",
        "/api/state/streams/{name}/parked-changes/",
        "/api/state/health/",
    }
    entities = schema["paths"]["/api/state/streams/{name}/entities/{entity_type}/"]["get"]
    assert {each["name"] for each in entities["parameters"]} >= {
        "name",
        "entity_type",
        "key",
        "cursor",
        "limit",
        "ordering",
        "fields",
    }
    example = entities["responses"]["200"]["content"]["application/json"]["examples"]
    assert "Hello" in str(example)


def test_views_work_without_drf_spectacular(monkeypatch: pytest.MonkeyPatch) -> None:
    """Describing a view changes nothing if the package is not installed."""
    monkeypatch.setitem(sys.modules, "drf_spectacular.utils", None)

    def view() -> None:
        """Any view."""

    assert describe(path={"name": "a name"})(view) is view


def test_members_that_a_query_may_leave_out_are_not_required() -> None:
    """``?fields=`` cuts streams, letters and parked changes."""
    components = SchemaGenerator().get_schema(request=None, public=True)["components"]["schemas"]
    for name in ("Stream", "DeadLetter", "ParkedChange"):
        assert "required" not in components[name], name
