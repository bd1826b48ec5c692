"""Integers that JavaScript would round."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from rest_framework.test import APIClient

from tests.feed.support.commits import commit_and_ring, make_stream
from tests.feed.support.following import follow

LARGE = {"n": 2**53, "deep": [-(2**60), 2**70], "small": 2**53 - 1}
AS_TEXT = {"n": str(2**53), "deep": [str(-(2**60)), str(2**70)], "small": 2**53 - 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("way", "shown"), [("text", AS_TEXT), ("number", LARGE)])
@pytest.mark.parametrize("value_rows", [100, 0])
async def test_they_are_shown_as_the_setting_says(
    way: str, shown: Any, value_rows: int, make_user: Any, configure: Any
) -> None:
    """In snapshots, live and REST alike, whatever form the log has."""
    configure(LARGE_INTEGERS=way, FEED_VALUE_ROWS=value_rows)
    stream = await sync_to_async(make_stream)()
    await commit_and_ring(stream, {("setting", "a"): LARGE})
    async with follow(stream) as follower:
        client = await follower.until_revision(1)
        assert client.state["setting", "a"] == shown
        await commit_and_ring(stream, {("setting", "b"): LARGE})
        await follower.until_revision(2)
        assert client.state["setting", "b"] == shown
    api = APIClient()
    await sync_to_async(api.force_login)(await sync_to_async(make_user)(superuser=True))
    path = "/api/state/streams/chat/entities/setting/?key=a"
    answer = await sync_to_async(api.get)(path)
    assert json.loads(answer.content)["value"] == shown
