"""The frames of the websocket, folded by the reference JavaScript client, equal the rows in the
tables.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from durable_state.models import Stream
from durable_state.registry import registry
from durable_state.testing import apply
from tests.app.models import Room
from tests.feed.support.client import Client
from tests.servers.require import skip_or_fail
from tests.websocket.support.application import AsUser
from tests.websocket.support.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER = Path(__file__).parent
KEYS = ["a", "B", "__proto__", "é\u2028", "\U0001f600", "with space", "constructor", "7"]


def fold_in_javascript(frames: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    if shutil.which("node") is None:
        skip_or_fail("node is not on the PATH")
    if not (FOLDER / "node_modules" / "@durable-streams" / "state").is_dir():
        skip_or_fail("tests/interop/node_modules is not installed (npm ci in tests/interop)")
    done = subprocess.run(
        ["node", "fold_frames.mjs"],
        cwd=FOLDER,
        input=json.dumps(frames).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    return {(entity_type, key): value for entity_type, key, value in json.loads(done.stdout)}


def rows_of(stream: Stream) -> dict[tuple[str, str], Any]:
    """The rows in the tables, as the mappings represent them."""
    return {
        (mapping.entity_type, str(getattr(row, mapping.key.attname))): mapping.represent(row)
        for mapping in registry.for_stream(stream.name)
        for row in mapping.rows(stream)
    }


def random_message(dice: random.Random) -> dict[str, Any]:
    key = dice.choice(KEYS)
    entity_type, value = dice.choice(
        [
            (
                "message",
                {
                    "text": dice.choice(["x", "é\u2028"]),
                    "likes": dice.choice([None, 1, -5]),
                    "isEdited": True,
                },
            ),
            ("message", {"text": "far too long for twenty characters"}),
            ("setting", dice.choice([None, 0, "", [1, [2]], {"__proto__": {"x": 1}}, 1.5])),
            ("profile", {"score": dice.randrange(5)}),
            ("score", {"points": dice.randrange(-2, 4)}),
            ("author", {"commits": dice.randrange(100)}),
            ("person", {"email": f"{key}@x", "boss": dice.choice([None, *KEYS])}),
        ]
    )
    operation = dice.choice(["insert", "update", "upsert", "delete"])
    return {
        "type": entity_type,
        "key": key,
        "value": value,
        "headers": {"operation": operation, "txid": f"t{dice.random()}"},
    }


@pytest.mark.parametrize("seed", range(3))
async def test_javascript_ends_with_the_rows(seed: int) -> None:
    """After a snapshot, live commits, a snapshot in the stream, a break and a resumption."""
    dice = random.Random(seed)
    stream = await Stream.objects.acreate(name="chat", url="http://tests.invalid/chat")
    await Room.objects.acreate(title="chat", stream=stream)
    user = await User.objects.acreate(username="ada", is_superuser=True)
    client = Client()

    async def commit(count: int, *, snapshot: bool = False) -> None:
        messages = [random_message(dice) for _ in range(count)]
        if snapshot:
            start, end = ({"headers": {"control": f"snapshot-{edge}"}} for edge in ("start", "end"))
            messages = [start, *messages, end]
        await sync_to_async(apply)("chat", messages)

    async def read() -> None:
        await stream.arefresh_from_db()
        socket = Socket(AsUser(user), f"/ws/state/chat/?offset={client.offset}")
        await socket.connect()
        client.up_to_date = False
        while not (client.up_to_date and client.offset.endswith(f".{stream.revision}")):
            client.fold(await socket.receive_text())
        await socket.disconnect()

    await commit(60)
    await read()
    for size in (5, 1, 30):
        await commit(size)
    await read()
    assert client.snapshots == 1
    await commit(20, snapshot=True)
    await commit(10)
    await read()
    expected = await sync_to_async(rows_of)(stream)
    assert len(expected) > 5
    assert client.state == expected
    assert fold_in_javascript(client.frames) == expected
