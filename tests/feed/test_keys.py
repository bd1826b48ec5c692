"""Following some entities only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async

from durable_state.feed import Audience

from .support.commits import commit_and_ring, make_stream, message
from .support.following import everything, follow
from .support.narrowed import popular

pytestmark = pytest.mark.django_db(transaction=True)
KEYS = frozenset(["a", "missing"])


def asked(audience: Audience) -> Audience:
    sights = [sight._replace(keys=KEYS) for sight in audience.sights.values()]
    return Audience.of(audience.stream, sights)


@pytest.mark.parametrize("value_rows", [100, 0])
@pytest.mark.parametrize("audience", [everything, popular])
async def test_only_the_entities_that_were_asked_for_are_mentioned(
    audience: Callable[..., Audience], value_rows: int, configure: Callable[..., None]
) -> None:
    """In the snapshot and live, even if the database compares without case."""
    configure(FEED_VALUE_ROWS=value_rows)
    stream = await sync_to_async(make_stream)()
    first = {("message", key): message(f"{key} one", 20) for key in ("a", "A", "b")}
    await commit_and_ring(stream, first | {("setting", "a"): 1, ("setting", "b"): 1})
    async with follow(stream, audience=lambda: asked(audience(stream))) as follower:
        client = await follower.until_revision(1)
        assert client.state == {("message", "a"): message("a one", 20), ("setting", "a"): 1}
        await commit_and_ring(
            stream, {("message", "a"): None, ("message", "b"): None, ("setting", "a"): 2}
        )
        await follower.until_revision(2)
        assert client.state == {("setting", "a"): 2}
    assert {key for _, key in client.mentioned} == {"a"}
