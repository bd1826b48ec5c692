"""The settings: their defaults are fixed, and a typo is reported with its path."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from django.test import override_settings

from durable_state.checks import check_settings
from durable_state.conf import Settings, get_settings, load
from durable_state.errors import ConfigurationError

DEFAULTS: dict[str, Any] = {
    "HEADERS": None,
    "POLICY": "durable_state.policy.StatePolicy",
    "ALLOWED_URLS": [],
    "METRICS_TOKEN": None,
    "STREAM_ROOTS": [],
    "WEBHOOK_URL": None,
    "WEBHOOK_BYTES": 1_048_576,
    "WEBHOOK_SECONDS": 300,
    "WAKE_STREAM": "durable-state-wakes",
    "DOORBELL_POLL_SECONDS": 3600.0,
    "QUEUE": None,
    "BATCH_ROWS": 50_000,
    "BATCH_BYTES": 8_388_608,
    "MESSAGE_BYTES": 33_554_432,
    "LEASE_SECONDS": 30.0,
    "SLICE_SECONDS": 600.0,
    "SEATS": None,
    "SEAT_STREAMS": 1000,
    "FEED_KEEP_SECONDS": 3600,
    "FEED_KEEP_ROWS": 100_000,
    "FEED_KEEP_BYTES": 67_108_864,
    "FEED_VALUE_ROWS": 100,
    "FEED_ENTRY_ROWS": 10_000,
    "FEED_POLL_SECONDS": 1.0,
    "FEED_SUBSCRIBERS": 1000,
    "FEED_USER_SUBSCRIPTIONS": 1000,
    "FEED_SOCKET_SUBSCRIPTIONS": 100,
    "WEBSOCKET_AUTHENTICATION": None,
    "LARGE_INTEGERS": "text",
    "DEAD_LETTER_LIMIT": 1000,
    "SNAPSHOT_OPEN_SECONDS": 3600,
    "SNAPSHOT_SCOPE": "stream",
    "STUCK_SECONDS": 300,
}


def headers(stream: Any) -> dict[str, str]:
    """A valid value for HEADERS."""
    return {}


async def coroutine(stream: Any) -> dict[str, str]:
    """Invalid for HEADERS: it is called in a thread."""
    return {}


def no_argument() -> dict[str, str]:
    """Invalid for HEADERS: it has to accept the stream."""
    return {}


def test_defaults_are_pinned() -> None:
    """A changed default affects every user, so it has to be changed in two places."""
    assert msgspec.to_builtins(load({})) == DEFAULTS
    assert msgspec.to_builtins(load(DEFAULTS)) == DEFAULTS


def test_settings_are_frozen_and_follow_override_settings() -> None:
    """Nobody changes them at run time, except tests, through Django."""
    with override_settings(DURABLE_STATE={"BATCH_ROWS": 7}):
        assert get_settings().batch_rows == 7
        with pytest.raises(AttributeError):
            get_settings().batch_rows = 8  # type: ignore[misc]
    with override_settings(DURABLE_STATE={}):
        assert get_settings() == Settings()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"BATCH_ROW": 5}, ["BATCH_ROW", "Did you mean 'BATCH_ROWS'"]),
        ({"batch_rows": 5}, ["batch_rows"]),
        ({"BATCH_ROWS": "5"}, ["BATCH_ROWS", "int", "str"]),
        ({"BATCH_ROWS": 0}, ["BATCH_ROWS"]),
        ({"LEASE_SECONDS": 0.5}, ["LEASE_SECONDS"]),
        ({"ALLOWED_URLS": "https://a/"}, ["ALLOWED_URLS"]),
        ({"ALLOWED_URLS": [5]}, ["ALLOWED_URLS[0]"]),
        ({"SNAPSHOT_SCOPE": "table"}, ["SNAPSHOT_SCOPE"]),
        ({"POLICY": None}, ["POLICY"]),
        ({"ALLOWED_URLS": {}}, ["`list`, got `dict`"]),
        ({"QUEUE": []}, ["`QUEUE`: Expected `str | None`, got `list`"]),
        ({"STUCK_SECONDS": None}, ["got `None`"]),
        ({"WEBHOOK_URL": "example.org"}, ["WEBHOOK_URL"]),
        ({"WAKE_STREAM": "wakes?x"}, ["WAKE_STREAM"]),
        ({"SPEED": 5}, ["Unknown key `SPEED`", "The keys are HEADERS, POLICY"]),
        ([], ["`dict`", "`list`"]),
        (5, ["`dict`", "int"]),
    ],
    ids=repr,
)
def test_typo_is_e020_with_its_path(raw: Any, words: list[str]) -> None:
    """The check names the key and what was expected; at run time the same text is raised."""
    with override_settings(DURABLE_STATE=raw):
        (found,) = check_settings()
        assert found.id == "durable_state.E020"
        for word in words:
            assert word in f"{found.msg} {found.hint}"
        with pytest.raises(ConfigurationError):
            get_settings()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"HEADERS": "tests.test_conf.missing"}, "cannot be imported"),
        ({"HEADERS": "nodots"}, "cannot be imported"),
        ({"HEADERS": "tests.test_conf.DEFAULTS"}, "cannot be called"),
        ({"HEADERS": "tests.test_conf.coroutine"}, "coroutine"),
        ({"HEADERS": "tests.test_conf.no_argument"}, "a stream alone"),
        ({"WEBSOCKET_AUTHENTICATION": "tests.test_conf.no_argument"}, "a scope alone"),
        ({"WEBSOCKET_AUTHENTICATION": "nodots"}, "cannot be imported"),
        ({"POLICY": "nowhere.Policy"}, "cannot be imported"),
        ({"POLICY": "tests.test_conf.headers"}, "not a StatePolicy"),
    ],
    ids=repr,
)
def test_path_that_leads_nowhere_is_e021(raw: dict[str, str], words: str) -> None:
    """The functions that HEADERS and POLICY name are imported and examined."""
    with override_settings(DURABLE_STATE=raw):
        (found,) = check_settings()
    assert found.id == "durable_state.E021"
    assert words in found.msg


def test_right_settings_have_no_finding() -> None:
    """Neither the defaults nor a project's headers function."""
    assert check_settings() == []
    assert check_settings({"HEADERS": "tests.test_conf.headers"}) == []


def test_a_slice_ends_before_the_broker_loses_patience() -> None:
    """A task that is acknowledged late is delivered again by then."""
    options = {"visibility_timeout": 300}
    with override_settings(CELERY_BROKER_TRANSPORT_OPTIONS=options):
        assert [each.id for each in check_settings({"SLICE_SECONDS": 300.0})] == [
            "durable_state.W029"
        ]
        assert check_settings({"SLICE_SECONDS": 299.0}) == []
    assert check_settings({"SLICE_SECONDS": 7200.0}) == []
