"""A moment is the same, and a lease lasts as long, in every time zone of a project and its
database.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connections

ZONES: dict[str, dict[str, Any]] = {
    "without zones, Tokyo": {"USE_TZ": False, "TIME_ZONE": "Asia/Tokyo"},
    "without zones, New York": {"USE_TZ": False, "TIME_ZONE": "America/New_York"},
    "database in Tokyo": {"USE_TZ": True, "TIME_ZONE": "UTC", "database": "Asia/Tokyo"},
    "database in New York": {
        "USE_TZ": True,
        "TIME_ZONE": "Europe/Berlin",
        "database": "America/New_York",
    },
}


@pytest.fixture(params=ZONES)
def seen(request: pytest.FixtureRequest, database: str) -> dict[str, Any]:
    """What a process of a project in another zone sees in the test's database."""
    connection = connections[database]
    settings = {"default": {**connection.settings_dict, "NAME": connection.settings_dict["NAME"]}}
    project = dict(ZONES[request.param])
    settings["default"]["TIME_ZONE"] = project.pop("database", None)
    connection.close()
    ended = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "tests.materializer.support.elsewhere"),
            json.dumps({"DATABASES": settings, **project}, default=str),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    found["keeps moments"] = project["USE_TZ"] and connection.features.supports_timezones
    found["New York"] = "New York" in request.param
    return found


def test_another_zone(seen: dict[str, Any]) -> None:
    """Rows, keys, frames, a second check, leases, retries and the feed's age, seen from there."""
    shown = {
        "summer": "2024-07-01T12:00:00Z",
        "winter": "2023-12-31T15:30:00.123456Z",
        "before": "2000-01-01T04:59:59Z",
        "twice": "2024-11-03T05:30:00Z",
    }
    letters = {"2024-07-01T21:00:00+09:00": "key"}
    if seen["New York"] and not seen["keeps moments"]:
        # The column could not tell it from the moment an hour later.
        del shown["twice"]
        letters["twice"] = "invalid"
    commits = {
        key: {"author": "a", "subject": "s", "authored_at": text} for key, text in shown.items()
    }
    assert seen["commits"] == seen["at one moment"] == commits
    assert seen["sights"] == {"2024-07-01T12:00:00Z": {"day": None}}
    assert seen["letters"] == letters
    assert all(text in seen["frame"] for text in shown.values())
    assert seen["written again"] == ["[]", "[]"]

    assert seen["lease"] == [1, None, "elsewhere:1:a:x", 1, 2]
    assert 0 <= seen["idle"] < 30
    assert seen["runnable"] == [False, True, True, False]
    status, stuck, since = seen["status"]
    assert (status, stuck) == ("live", False)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()) < 60
    assert seen["pruned"] == [0, 3]
