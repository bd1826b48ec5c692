"""The read half of the protocol's public conformance suite passes on Django's feed."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from durable_state.rest.feed import live
from tests.rest.feed.support.server import serving
from tests.servers.reference import INTEROP, missing
from tests.servers.require import skip_or_fail

from .support.bridge import Bridge

pytestmark = pytest.mark.django_db(transaction=True)

READ_HALF = [
    "Read Operations",
    "Long-Poll Operations",
    "HTTP Protocol should return correct headers on GET",
    "HTTP Protocol should return empty body",
    "HTTP Protocol should read from offset",
    "Browser Security Headers",
    "HEAD Metadata should",
    "Offset Validation and Resumability",
    "Protocol Edge Cases",
    "Long-Poll Edge Cases",
    "Caching and ETag",
    "Chunking and Large Payloads",
    "Read-Your-Writes Consistency",
    "SSE Mode",
    "JSON Mode",
    "Property-Based Tests .* Offset Validation Properties",
    "Stream Closure HEAD with",
    "Stream Closure Read Closed",
    "Stream Closure Long-poll with",
    "Stream Closure SSE with",
    "Stream Closure Edge Cases offset-now-on-closed",
]
"""The beginnings of the names of the suite's tests that read.

The others write: creating, appending, producers, closing, forks, expiry, subscriptions. Streams are
written on their server, not here.
"""

WRITES = {
    "Browser Security Headers should include X-Content-Type-Options: nosniff on PUT responses",
    "Browser Security Headers should include X-Content-Type-Options: nosniff on POST responses",
    "Protocol Edge Cases should enforce case-sensitive seq ordering",
    "Protocol Edge Cases should return Location header on 201",
    "Protocol Edge Cases should reject missing Content-Type on POST",
    "JSON Mode should reject POST with empty array body",
    "JSON Mode should reject empty JSON arrays with 400",
}
"""Tests of the answers to writes, which are the bridge's."""
DOES_NOT_APPLY = {
    # The project may allow other origins, with django-cors-headers.
    "Caching and ETag should allow If-None-Match in CORS preflight responses",
}


def test_it_reads_as_the_suite_says(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every test that reads passes, except those listed above, which fail."""
    reason = missing()
    if not reason and not (INTEROP / "node_modules" / ".bin" / "vitest").exists():
        reason = "tests/interop/node_modules is older than its package-lock.json (npm ci there)"
    if reason:
        skip_or_fail(reason)
    configure(FEED_POLL_SECONDS=0.02)
    monkeypatch.setattr(live, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(live, "LONG_POLL_SECONDS", 1.0)
    User.objects.create_user("ada", password="secret", is_superuser=True)

    report = tmp_path / "report.json"
    names = "^(" + "|".join(READ_HALF) + ")"
    command = ["node_modules/.bin/vitest", "run", "--config", "vitest.config.mjs", "-t", names]
    with serving(Bridge(base64.b64encode(b"ada:secret"))) as address:
        done = subprocess.run(
            [*command, "--outputFile", str(report)],
            cwd=INTEROP,
            env=os.environ | {"CONFORMANCE_TEST_URL": address},
            capture_output=True,
            timeout=150,
        )
    assert report.exists(), done.stderr.decode()
    files = json.loads(report.read_text())["testResults"]
    results = [each for file in files for each in file["assertionResults"]]
    failed = {
        each["fullName"]: each["failureMessages"] for each in results if each["status"] == "failed"
    }
    wrong = {name: why for name, why in failed.items() if name not in WRITES | DOES_NOT_APPLY}
    assert not wrong
    assert set(failed) == WRITES | DOES_NOT_APPLY
    assert len([each for each in results if each["status"] == "passed"]) >= 110
