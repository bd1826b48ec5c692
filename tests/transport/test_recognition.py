"""A replaced stream is noticed in whatever way it differs, and the same stream is never taken
for another.
"""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state.errors import StreamGone, StreamRecreated, Unavailable
from durable_state.protocol import START, Position, decode, encode_change
from durable_state.transport import (
    DEEP_BYTES,
    BatchLimits,
    Checkpoint,
    Rereader,
    append,
    create,
    delete,
    open_client,
    reader,
)
from durable_state.transport.checkpoint import GATE_BYTES, NEAR_BYTES, Trail, advance
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies
from tests.servers.process import StreamServer
from tests.servers.reference import reference

from .support.reading import keys, message, read

MANY = BatchLimits(rows=100_000, bytes=100_000_000)


def numbered(count: int, start: int = 0, word: str = "old", size: int = 20) -> list[bytes]:
    """Messages of the same length, for every number and every word of three letters."""
    return [
        encode_change("t", f"{n:06}", "insert", {"text": f"{word}{n:06}".ljust(size, ".")})
        for n in range(start, start + count)
    ]


def grouped(items: list[bytes], size: int) -> list[list[bytes]]:
    """The items in appends of ``size``."""
    return [items[n : n + size] for n in range(0, len(items), size)]


OLD = numbered(1_000)
CHANGES: dict[str, list[bytes]] = {
    "restored to 600, 500 others follow": OLD[:600] + numbered(500, 600, "new"),
    "restored to 600, 400 others of the same length follow": OLD[:600] + numbered(400, 600, "new"),
    "the first 800 alike": OLD[:800] + numbered(300, 800, "new"),
    "the last append lost": OLD[:990],
    "the last append replaced": OLD[:990] + numbered(10, 990, "new"),
    "the first message another": numbered(1, 0, "new") + OLD[1:],
    "an append in the middle replaced": OLD[:500] + numbered(10, 500, "new") + OLD[510:],
    "an append in the middle lost": OLD[:500] + OLD[510:],
    "the last message another": OLD[:-1] + numbered(1, 999, "new"),
    "two messages exchanged": [*OLD[:700], OLD[701], OLD[700], *OLD[702:]],
}


async def fill(client: httpx.AsyncClient, url: str, groups: list[list[bytes]]) -> None:
    """Appends each group separately."""
    for group in groups:
        await append(client, url, group)


async def recreate(client: httpx.AsyncClient, url: str, groups: list[list[bytes]]) -> None:
    """Deletes the stream and creates another with these messages."""
    await delete(client, url)
    await create(client, url)
    await fill(client, url, groups)


async def look(client: httpx.AsyncClient, url: str, at: Checkpoint | None) -> None:
    """Both checks that are made beside a reader."""
    assert at is not None
    for deep in (False, True):
        await Rereader(client, url).look(at, deep=deep)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("rows", [1_000, 130])
async def test_every_difference_is_noticed(
    client: httpx.AsyncClient, stream_server: StreamServer, change: str, rows: int
) -> None:
    """At the end of the old stream, and at each place inside it that comes after the difference."""
    url = stream_server.stream()
    await create(client, url)
    await fill(client, url, grouped(OLD, 50))
    batches = await read(client, url, limits=BatchLimits(rows, 10_000_000))
    assert batches[-1].position.ordinal == 1_000
    for batch in batches:
        await look(client, url, batch.checkpoint)
    await recreate(client, url, grouped(CHANGES[change], 50))
    alike = next(
        (n for n, pair in enumerate(zip(OLD, CHANGES[change], strict=False)) if pair[0] != pair[1]),
        len(CHANGES[change]),
    )
    for batch in batches:
        assert batch.checkpoint is not None
        if batch.position.ordinal <= alike:
            await look(client, url, batch.checkpoint)
            continue
        if batch.position.skip:  # what comes before it in its answer is read again anyway
            with pytest.raises(StreamRecreated):
                await read(client, url, batch.position, checkpoint=batch.checkpoint, limits=MANY)
        else:
            with pytest.raises(StreamRecreated):
                await look(client, url, batch.checkpoint)
        if CHANGES[change][-1] != OLD[-1]:
            with pytest.raises(StreamRecreated):
                await read(client, url, batch.position, checkpoint=batch.checkpoint, limits=MANY)


async def test_large_documents_are_compared_to_the_last(
    client: httpx.AsyncClient, stream_server: StreamServer
) -> None:
    """The first five of 20 KB are the same, then others."""
    url = stream_server.stream()
    await create(client, url)
    await fill(client, url, grouped(numbered(12, size=20_000), 4))
    last = (await read(client, url))[-1]
    await recreate(
        client, url, grouped(numbered(5, size=20_000) + numbered(7, 5, "new", 20_000), 4)
    )
    with pytest.raises(StreamRecreated):
        await read(client, url, last.position, checkpoint=last.checkpoint)


def with_offsets(groups: list[list[bytes]], name: str = "o") -> list[list[bytes]]:
    """The same, with the offset after its append on each message, like the reference server."""
    replies = StreamReplies(groups, name=name)

    def put(item: bytes, number: int) -> bytes:
        loaded = json.loads(item)
        loaded["headers"]["offset"] = replies.offset(number + 1)
        return json.dumps(loaded).encode()

    return [[put(item, number) for item in group] for number, group in enumerate(groups)]


def in_pieces(replies: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    """The same answers, in pieces of 100 KB, so that one that is dropped early is not sent
    completely; made once, and kept.
    """

    @functools.cache
    def made(offset: str) -> Reply:
        answer = replies(Asked("GET", "/", {"offset": offset}, {}, "/"))
        body = b"".join(answer.pieces)
        pieces = tuple(body[n : n + 100_000] for n in range(0, len(body), 100_000))
        return Reply(answer.status, answer.headers, pieces)

    return lambda asked: made(asked.query["offset"])


async def test_offsets_on_messages_make_the_look_short(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """8 MB in one answer: little of it is read again at a start, and a difference near the end
    is found in that little.
    """
    groups = grouped(numbered(8_000, size=1_000), 10)
    misbehaving_server.reply = in_pieces(StreamReplies(with_offsets(groups)))
    last = (await read(client, misbehaving_server.url, limits=MANY))[-1]
    assert last.checkpoint is not None
    asked = len(misbehaving_server.asked)
    before = misbehaving_server.bytes_sent
    await read(client, misbehaving_server.url, last.position, checkpoint=last.checkpoint)
    assert misbehaving_server.bytes_sent - before < 10 * NEAR_BYTES
    assert misbehaving_server.asked[asked].query["offset"] not in ("-1", last.position.offset)
    groups[-1] = numbered(10, 7_990, "new", 1_000)
    misbehaving_server.reply = StreamReplies(with_offsets(groups))
    with pytest.raises(StreamRecreated):
        await read(client, misbehaving_server.url, last.position, checkpoint=last.checkpoint)
    groups[-1], groups[400] = numbered(10, 7_990, size=1_000), numbered(10, 4_000, "new", 1_000)
    misbehaving_server.reply = StreamReplies(with_offsets(groups))
    with pytest.raises(StreamRecreated):
        await Rereader(client, misbehaving_server.url).look(last.checkpoint, deep=True)


async def test_offsets_that_came_with_copied_messages_are_not_used(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """They belong to another stream. The last message of an answer distinguishes them from the
    server's own.
    """
    foreign = StreamReplies(with_offsets(grouped(numbered(2_000, size=100), 10), "x"))
    misbehaving_server.reply = StreamReplies(foreign.groups, name="o")
    last = (await read(client, misbehaving_server.url, limits=MANY))[-1]
    assert last.checkpoint is not None
    assert [mark.offset for mark in last.checkpoint.marks] == ["-1", last.position.offset]
    await look(client, misbehaving_server.url, last.checkpoint)


def test_an_item_without_an_offset_makes_no_mark_beside_it() -> None:
    """It may have come with the append before it or the one after; an uncertain place is not
    used.
    """
    trail = Trail(START, None)
    groups = with_offsets(grouped(numbered(40, size=9_000), 1))
    items = [item for group in groups for item in (*group, b"5")]
    trail.add([decode(item) for item in items])
    trail.move(StreamReplies(groups).offset(len(groups)))
    found = trail.checkpoint(80)
    assert found is not None
    assert len(found.marks) == 2


@pytest.mark.parametrize(
    "offset", ["", "-1", "now", "x" * 513, "a\x00"], ids=["", "-1", "now", "long", "NUL"]
)
def test_an_offset_inside_a_message_that_is_no_place_makes_no_mark(offset: str) -> None:
    """``now`` would lead to wherever the tail is by then, and a check from there finds nothing."""
    items = [json.loads(message(n, "x" * 9_000)) for n in range(40)]
    for n, item in enumerate(items, 1):
        item["headers"]["offset"] = "end" if n == 40 else offset if n % 2 else f"o{n}"
    trail = Trail(START, None)
    trail.add([decode(json.dumps(item).encode()) for item in items])
    trail.move("end")
    found = trail.checkpoint(40)
    assert found is not None
    assert len(found.marks) > 2
    assert offset not in {mark.offset for mark in found.marks[1:]}


@given(
    st.lists(st.integers(1, 60_000), min_size=1, max_size=60),
    st.lists(st.integers(1, 10), min_size=1, max_size=60),
)
def test_marks_are_few_and_true(sizes: list[int], answers: list[int]) -> None:
    """Each has the fingerprint of what precedes it, however the answers were cut; there is one
    near, and one far back.
    """
    items = [message(n, "x" * size) for n, size in enumerate(sizes)]
    read_messages = [decode(item) for item in items]
    trail, begin, places = Trail(START, None), 0, {"-1": 0}
    while begin < len(items):
        count = answers[begin % len(answers)]
        trail.add(read_messages[begin : begin + count])
        begin = min(begin + count, len(items))
        trail.move(f"o{begin}")
        places[f"o{begin}"] = begin
    found = trail.checkpoint(len(items))
    assert found is not None
    assert found.fingerprint == advance("", read_messages)
    assert found.marks[-1][:2] == (f"o{len(items)}", len(items))
    assert len(found.marks) <= 12
    for mark in found.marks:
        assert places[mark.offset] == mark.ordinal
        assert mark.fingerprint == advance("", read_messages[: mark.ordinal])
        assert mark.size == sum(map(len, items[: mark.ordinal]))
    near, deep = found.near(), found.deep()
    assert near is not None
    assert deep is not None
    assert deep.ordinal == 0
    assert near.ordinal == 0 or found.size - near.size >= NEAR_BYTES or near == deep
    assert found.size - near.size <= GATE_BYTES
    assert Checkpoint.load(json.loads(json.dumps(found.dump()))) == found


def test_marks_stay_few_in_a_stream_without_end() -> None:
    """One message at a time, for 60 MB: the farthest mark is as far back as can be read again,
    and each next one is nearer.
    """
    read_messages = [decode(message(0, "x" * 5_000))]
    trail = Trail(START, None)
    found: Checkpoint | None = None
    for number in range(12_000):
        trail.add(read_messages)
        trail.move(f"o{number}")
        found = trail.checkpoint(number + 1)
        assert found is not None
        assert len(found.marks) <= 12
    assert found is not None
    deep, near = found.deep(), found.near()
    assert deep is not None
    assert near is not None
    assert DEEP_BYTES / 8 <= found.size - deep.size <= DEEP_BYTES
    assert NEAR_BYTES <= found.size - near.size <= 16 * NEAR_BYTES


async def test_a_long_answer_without_offsets_is_read_again_beside_the_reader(
    client: httpx.AsyncClient,
    misbehaving_server: MisbehavingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """20 MB: a start does not wait for it, the long check takes its time, holds little of it,
    and finds the difference.
    """
    monkeypatch.setattr(reader, "REREAD_BYTES_PER_SECOND", 40_000_000)
    items = numbered(20_000, size=1_000)
    misbehaving_server.reply = in_pieces(StreamReplies([items]))
    last = (await read(client, misbehaving_server.url, limits=MANY))[-1]
    checkpoint = last.checkpoint
    assert checkpoint is not None
    before = misbehaving_server.bytes_sent
    await read(client, misbehaving_server.url, last.position, checkpoint=checkpoint)
    await Rereader(client, misbehaving_server.url).look(checkpoint)
    assert misbehaving_server.bytes_sent - before < 10
    began = time.monotonic()
    tracemalloc.start()
    try:
        await Rereader(client, misbehaving_server.url).look(checkpoint, deep=True)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began > 0.4
    misbehaving_server.reply = StreamReplies([[*items[:10_000], items[0], *items[10_001:]]])
    with pytest.raises(StreamRecreated):
        await Rereader(client, misbehaving_server.url).look(checkpoint, deep=True)


async def test_messages_behind_a_long_answer_are_looked_at_before_more_are_taken(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """The long answer takes too long for that; the little that came since does not."""
    groups = [numbered(2_000, size=1_000), numbered(1, 2_000), numbered(1, 2_001)]
    misbehaving_server.reply = StreamReplies(groups, page=1)
    last = (await read(client, misbehaving_server.url, limits=MANY))[-1]
    groups[2] = numbered(1, 2_001, "new")
    before = misbehaving_server.bytes_sent
    with pytest.raises(StreamRecreated):
        await read(client, misbehaving_server.url, last.position, checkpoint=last.checkpoint)
    assert misbehaving_server.bytes_sent - before < 1_000


@pytest.mark.parametrize("page", [1, 7])
async def test_what_was_compared_outlasts_failures(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, page: int
) -> None:
    """A server that fails now and then, at the head or in the body, is recognized in one go; a
    difference behind a failure is noticed too.
    """
    groups = [numbered(3, 3 * n) for n in range(30)]
    replies = StreamReplies(groups, page=page)
    misbehaving_server.reply = replies
    checkpoint = (await read(client, misbehaving_server.url, limits=MANY))[-1].checkpoint

    failed: set[str] = set()

    def failing(asked: Asked) -> Reply:
        offset = asked.query["offset"]
        turn = replies.index(offset) // page
        if turn % 3 != 2 or offset in failed:
            return replies(asked)
        failed.add(offset)
        return replace(replies(asked), cut=100) if turn % 2 else Reply(503)

    async def look_again() -> int:
        """How many requests it took."""
        misbehaving_server.asked.clear()
        assert checkpoint is not None
        await Rereader(client, misbehaving_server.url).look(checkpoint, deep=True)
        return len(misbehaving_server.asked)

    unspoilt = await look_again()
    misbehaving_server.reply = failing
    assert await look_again() == unspoilt + len(failed)
    assert len(failed) >= unspoilt // 3

    failed.clear()
    groups[-1] = numbered(3, 87, "new")
    with pytest.raises(StreamRecreated):
        await look_again()

    misbehaving_server.reply = lambda asked: Reply(503)
    with pytest.raises(Unavailable):
        await look_again()
    assert len(misbehaving_server.asked) == 1


SPELLINGS = {
    "spaces": lambda item: json.dumps(json.loads(item), indent=1).encode(),
    "escapes": lambda item: item.replace("é".encode(), rb"\u00e9").replace(b"/", rb"\/"),
    "order": lambda item: json.dumps(dict(reversed(json.loads(item).items()))).encode(),
    "numbers": lambda item: item.replace(b"100.0", b"1E2").replace(b"0.5", b"5e-1"),
    "whole": lambda item: item.replace(b"100.0", b"100"),
    "offset": lambda item: item.replace(b'"operation"', b'"offset":"7","operation"'),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_one_message_may_be_written_in_two_ways(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, spelling: str
) -> None:
    """In an event stream as the server writes it there, in a GET as it writes it here."""
    items = [encode_change("t", str(n), "insert", {"é/": [100.0, 0.5, n]}) for n in range(20)]
    other = [SPELLINGS[spelling](item) for item in items]
    assert other != items
    good = StreamReplies([items[:10], other[10:]])

    def reply(asked: Asked) -> Reply:
        if asked.query.get("live") == "sse":
            body = (
                b'event: data\ndata: [%b]\n\nevent: control\ndata: {"streamNextOffset": "%b"}\n\n'
            )
            said = b"".join(b",".join(items[10:]).split(b"\n")), good.offset(2).encode()
            return Reply(200, {"Content-Type": "text/event-stream"}, (body % said,), "chunked")
        return (
            StreamReplies(good.groups[:1])(asked) if asked.query["offset"] == "-1" else good(asked)
        )

    misbehaving_server.reply = reply
    batches = await read(
        client, misbehaving_server.url, live="sse", until=lambda found: len(keys(found)) == 20
    )
    misbehaving_server.reply = StreamReplies([[*map(SPELLINGS[spelling], items[:10])], other[10:]])
    for batch in batches:
        await look(client, misbehaving_server.url, batch.checkpoint)
        await read(client, misbehaving_server.url, batch.position, checkpoint=batch.checkpoint)


async def test_a_stream_read_live_is_recognized_by_get(
    client: httpx.AsyncClient, stream_server: StreamServer
) -> None:
    """Each append came as a separate event; any number of them comes back in one answer."""
    url = stream_server.stream()
    await create(client, url)
    odd = [b"5", b'{"a":"\\ud800"}', message("é", [1.0, 1e22, 12345678901234567890, "\x7f"])]
    groups = [*grouped(numbered(60, size=2_000), 7), odd, numbered(3, 100)]
    total = sum(map(len, groups))
    reading = asyncio.create_task(
        read(
            client,
            url,
            live="sse",
            limits=BatchLimits(5, 10_000_000),
            until=lambda found: found[-1].position.ordinal == total,
        )
    )
    for group in groups:
        await append(client, url, group)
        await asyncio.sleep(0.02)
    for batch in await reading:
        await look(client, url, batch.checkpoint)
        rest = await read(client, url, batch.position, checkpoint=batch.checkpoint)
        assert sum(len(each.messages) for each in rest) == total - batch.position.ordinal


async def test_a_server_that_starts_again_serves_the_same_stream(tmp_path: Path) -> None:
    """With its own files; and it is another one with those of a backup."""
    with reference(data_dir=tmp_path / "now") as server:
        url = server.stream()
        async with open_client() as client:
            await create(client, url)
            await fill(client, url, grouped(OLD[:600], 10))
    path = url.removeprefix(server.url)
    shutil.copytree(tmp_path / "now", tmp_path / "backup")
    with reference(data_dir=tmp_path / "now") as server:
        url = server.url + path
        async with open_client() as client:
            await fill(client, url, grouped(OLD[600:], 10))
            batches = await read(client, url, limits=BatchLimits(300, 1_000_000))
    with reference(data_dir=tmp_path / "now") as server:
        url = server.url + path
        async with open_client() as client:
            for batch in batches:
                await look(client, url, batch.checkpoint)
                await read(client, url, batch.position, checkpoint=batch.checkpoint)
    with reference(data_dir=tmp_path / "backup") as server:
        url = server.url + path
        async with open_client() as client:
            last = batches[-1]
            with pytest.raises(StreamRecreated):
                await read(client, url, last.position, checkpoint=last.checkpoint)
            await fill(client, url, grouped(numbered(500, 600, "new"), 10))
            with pytest.raises(StreamRecreated):
                await read(client, url, last.position, checkpoint=last.checkpoint)


class TestCaches:
    """A cache may return something older than what was read; it is bypassed before that counts."""

    async def test_an_answer_that_is_too_short(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
    ) -> None:
        """In a check, and in the answer to a read that continues inside it."""
        items = numbered(50)
        good, stale = StreamReplies([items]), StreamReplies([items[:20]])
        misbehaving_server.reply = good
        inside, *_, last = await read(
            client, misbehaving_server.url, limits=BatchLimits(30, 100_000)
        )
        assert inside.position == Position("-1", 30, 30)
        misbehaving_server.reply = lambda asked: (
            good if "cursor" in asked.query or asked.query["offset"] != "-1" else stale
        )(asked)
        (batch,) = await read(
            client, misbehaving_server.url, last.position, checkpoint=last.checkpoint
        )
        assert batch.position == last.position
        with pytest.raises(Unavailable, match="as itself"):
            await read(
                client, misbehaving_server.url, inside.position, checkpoint=inside.checkpoint
            )

    async def test_an_answer_of_the_stream_before(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
    ) -> None:
        """The stream was created anew and read; then the old one comes back from a cache."""
        good, stale = StreamReplies([numbered(50)]), StreamReplies([numbered(50, word="new")])
        misbehaving_server.reply = good
        last = (await read(client, misbehaving_server.url))[-1]
        misbehaving_server.reply = lambda asked: (good if "cursor" in asked.query else stale)(asked)
        await look(client, misbehaving_server.url, last.checkpoint)

    async def test_a_server_that_takes_no_cursor(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
    ) -> None:
        """Then its first answer counts."""
        misbehaving_server.reply = StreamReplies([numbered(50)])
        last = (await read(client, misbehaving_server.url))[-1]
        other = StreamReplies([numbered(50, word="new")])
        misbehaving_server.reply = lambda asked: (
            Reply(400) if "cursor" in asked.query else other(asked)
        )
        with pytest.raises(StreamRecreated):
            await look(client, misbehaving_server.url, last.checkpoint)


async def test_what_is_no_longer_kept_is_no_evidence(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """The server has dropped the old part of the stream: 410 for each mark in it, whichever
    check begins there.
    """
    groups = grouped(numbered(3_000, size=1_000), 100)
    good = StreamReplies(with_offsets(groups))
    misbehaving_server.reply = good
    last = (await read(client, misbehaving_server.url, limits=MANY))[-1]
    for kept in (1, 15, 29, 30):
        misbehaving_server.reply = lambda asked, kept=kept: (  # type: ignore[misc]
            Reply(410) if good.index(asked.query["offset"]) < kept else good(asked)
        )
        await look(client, misbehaving_server.url, last.checkpoint)
        (batch,) = await read(
            client, misbehaving_server.url, last.position, checkpoint=last.checkpoint
        )
        assert batch.up_to_date


async def test_offsets_on_messages_that_the_server_does_not_take(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Only offsets where answers ended are accepted: a stream must not halt because of the
    others.
    """
    good = StreamReplies(with_offsets(grouped(numbered(3_000, size=1_000), 100)))
    misbehaving_server.reply = good
    last = (await read(client, misbehaving_server.url, limits=MANY))[-1]
    misbehaving_server.reply = lambda asked: (
        good(asked) if asked.query["offset"] in ("-1", last.position.offset) else Reply(400)
    )
    await look(client, misbehaving_server.url, last.checkpoint)
    await read(client, misbehaving_server.url, last.position, checkpoint=last.checkpoint)


@pytest.mark.parametrize("dropped", [1, 30, 45, 49])
async def test_a_stream_that_has_lost_its_beginning_is_no_other(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, dropped: int
) -> None:
    """Asked for the start, the server answers from what is left; rows of what it dropped must
    not be deleted for that.
    """
    items = numbered(50)
    remote = StreamReplies([items])
    misbehaving_server.reply = remote
    inside, last = await read(client, misbehaving_server.url, limits=BatchLimits(40, 100_000))
    remote.groups = [items[dropped:]]
    if dropped <= 42:
        await look(client, misbehaving_server.url, last.checkpoint)
        (batch,) = await read(
            client, misbehaving_server.url, last.position, checkpoint=last.checkpoint
        )
        assert batch.position == last.position
    else:  # too little is left to be certain
        with pytest.raises(StreamRecreated):
            await look(client, misbehaving_server.url, last.checkpoint)
    if dropped <= 30:  # the position inside the answer is no longer valid
        with pytest.raises(StreamGone, match="beginning"):
            await read(
                client, misbehaving_server.url, inside.position, checkpoint=inside.checkpoint
            )


async def test_a_shorter_copy_is_another_stream(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """It has the same beginning and the same end; something in the middle is missing."""
    items = numbered(50)
    remote = StreamReplies([items])
    misbehaving_server.reply = remote
    last = (await read(client, misbehaving_server.url))[-1]
    remote.groups = [items[:20] + items[21:]]
    with pytest.raises(StreamRecreated):
        await look(client, misbehaving_server.url, last.checkpoint)
