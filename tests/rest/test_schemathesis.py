"""Whatever the OpenAPI document allows is answered as documented."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounds
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from durable_state.models import Stream
from durable_state.testing import apply
from tests.wire import change

pytestmark = pytest.mark.django_db

PATHS = [
    "/api/state/streams/",
    "/api/state/streams/{name}/",
    "/api/state/streams/{name}/entities/{entity_type}/",
    "/api/state/streams/{name}/dead-letters/",
    "/api/state/streams/{name}/parked-changes/",
    "/api/state/health/",
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def allow_localhost(settings: Any) -> None:
    """Marks requests as coming from schemathesis."""
    settings.ALLOWED_HOSTS = ["localhost"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("signed_in", [True, False])
def test_what_the_document_allows(
    path: str, signed_in: bool, make_user: Any, allow_localhost: None
) -> None:
    """Every answer is described, and none is a traceback, for odd names and queries."""
    apply("chat", [change("message", f"k{n}", text="x", likes=n) for n in range(5)])
    apply("chat", [change("message", "letter", text="x", likes="x")])
    assert Stream.objects.exists()
    cookies: dict[str, str] = {}
    if signed_in:
        browser = Client()
        browser.force_login(make_user(superuser=True))
        cookies["sessionid"] = browser.cookies["sessionid"].value

    raw = SchemaGenerator().get_schema(request=None, public=True)
    schema = schemathesis.openapi.from_dict(raw)
    schema.app = get_wsgi_application()
    operation = schema[path]["get"]

    @bounds(
        max_examples=20,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        known = {"name": "chat", "entity_type": "message"}
        for name in case.path_parameters or {}:
            if len(case.path_parameters[name]) % 2:  # often enough, names that exist
                case.path_parameters[name] = known[name]
        # Anonymous users get the status code of the health, and nothing else.
        checks = CHECKS if signed_in or "health" not in path else CHECKS[:2]
        answer = case.call_and_validate(cookies=cookies, checks=checks)
        codes.add(answer.status_code)

    codes: set[int] = set()
    ask()
    assert (200 in codes) == (signed_in or "health" in path)
