"""Answers that trickle, never end, or are coded or framed oddly: each has its bounds."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import httpx
import pytest

from durable_state.errors import (
    AnswerRefused,
    NotJson,
    ProtocolViolation,
    Stalled,
    TransportError,
    Unavailable,
)
from durable_state.protocol import Position
from durable_state.transport import Batch, BatchLimits, LiveMode
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies

from .support.answers import EVENTS, JSON, control, data, empty, events, keep
from .support.reading import keys, message, messages, read


async def test_a_trickle_is_given_as_it_comes(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """A message now and then: each is a batch before the next one arrives, and counts once."""
    pieces = (b"[", *[message(n) + b"," for n in range(4)], message(4) + b"]")
    headers = JSON | {"Stream-Next-Offset": "a", "Stream-Up-To-Date": "true"}
    misbehaving_server.replies(Reply(200, headers, pieces, framing="chunked", pause=0.3))
    limits = BatchLimits(100, 1_000_000, seconds=0.05)
    batches = await read(client, misbehaving_server.url, limits=limits)
    assert [keys([batch]) for batch in batches] == [["0"], ["1"], ["2"], ["3"], ["4"]]
    assert [batch.position for batch in batches[:2]] == [Position("-1", 1, 1), Position("-1", 2, 2)]
    assert batches[-1].position == Position("a", 0, 5)


@pytest.mark.parametrize("live", [None, "sse", "long-poll"])
async def test_a_head_that_trickles_has_an_end(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, live: LiveMode | None
) -> None:
    """No read waits for long, yet the whole would never end."""
    slow = Reply(200, JSON | {"X-More": "x" * 1_000}, head_pause=0.1)
    misbehaving_server.reply = lambda asked: (
        slow if asked.query.get("live") == live else empty("a", "Stream-Up-To-Date")
    )
    with pytest.raises(Stalled, match=r"head of its answer in 0\.8 s"):
        await read(client, misbehaving_server.url, live=live, silence=0.4)


async def test_an_answer_that_trickles_nothing_is_stalled(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Spaces keep the socket busy, and are not progress; the message before them is returned."""
    pieces = (b"[%b," % message(0), *[b" "] * 1_000)
    misbehaving_server.replies(
        Reply(200, JSON | {"Stream-Next-Offset": "a"}, pieces, framing="chunked", pause=0.05)
    )
    found: list[Batch] = []
    limits = BatchLimits(100, 1_000_000, seconds=0.1)
    with pytest.raises(Stalled, match="without a complete message"):
        await read(
            client, misbehaving_server.url, limits=limits, stuck_seconds=1.0, until=keep(found)
        )
    assert keys(found) == ["0"]


@pytest.mark.parametrize("pieces", [(b" ",) * 1_000, (message("x"),) * 2], ids=["busy", "silent"])
async def test_whether_it_is_the_same_stream_is_not_asked_for_ever(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, pieces: tuple[bytes, ...]
) -> None:
    """The answer that is compared with what was read before may trickle too."""
    misbehaving_server.reply = StreamReplies([messages(3)])
    last = (await read(client, misbehaving_server.url))[-1]
    reply = Reply(
        200,
        JSON | {"Stream-Next-Offset": "a"},
        (b"[", *pieces),
        framing="chunked",
        pause=0.05,
        cut=10_000,
        silent=True,
    )
    misbehaving_server.replies(reply)
    with pytest.raises(Stalled, match="cannot be told"):
        await read(
            client,
            misbehaving_server.url,
            last.position,
            checkpoint=last.checkpoint,
            stuck_seconds=0.5,
        )


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        lambda body: gzip.compress(body[:9], mtime=0) + gzip.compress(body[9:], mtime=0),
        lambda body: gzip.compress(body, mtime=0) + b"\0" * 100,
        zlib.compress,
        lambda body: zlib.compress(body)[2:-4],
    ],
    ids=["gzip", "gzip-members", "gzip-padded", "deflate", "deflate-raw"],
)
async def test_codings_that_are_decoded(
    client: httpx.AsyncClient,
    misbehaving_server: MisbehavingServer,
    pack: Callable[[bytes], bytes],
) -> None:
    """Whole, and byte by byte; the request accepts no others, whatever HEADERS gives."""

    async def headers() -> dict[str, str]:
        return {"Accept-Encoding": "br"}

    packed = pack(b"[%b]" % b",".join(messages(300)))
    coding = "gzip" if packed.startswith(b"\x1f") else "deflate"
    head = JSON | {
        "Stream-Next-Offset": "a",
        "Stream-Up-To-Date": "true",
        "Content-Encoding": coding,
    }
    for pieces in ((packed,), tuple(packed[n : n + 1] for n in range(len(packed)))):
        misbehaving_server.replies(Reply(200, head, pieces, framing="chunked"))
        batches = await read(client, misbehaving_server.url, headers=headers)
        assert keys(batches) == [str(n) for n in range(300)]
    assert misbehaving_server.asked[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("coding", "body", "error", "text"),
    [
        ("gzip, gzip", b"", AnswerRefused, "content coding gzip, gzip"),
        ("gzip,identity,deflate", b"", AnswerRefused, "content coding gzip, deflate"),
        ("br", b"", AnswerRefused, "content coding br"),
        ("zstd", b"", AnswerRefused, "content coding zstd"),
        ("x" * 5_000, b"", AnswerRefused, "content coding x"),
        (
            "gzip",
            gzip.compress(b"[]", mtime=0) + b"garbage",
            ProtocolViolation,
            "it is not valid gzip",
        ),
        ("gzip", gzip.compress(b"[]", mtime=0)[:-4], ProtocolViolation, "its gzip is cut"),
        ("gzip", gzip.compress(b"[]", mtime=0)[:5], ProtocolViolation, "its gzip is cut"),
        ("deflate", zlib.compress(b"[]") + b"[]", ProtocolViolation, "bytes after the end"),
        ("deflate", zlib.compress(b"[]")[:1], ProtocolViolation, "its deflate is cut"),
        ("deflate", b"\xff\xff\xff", ProtocolViolation, "it is not valid deflate"),
    ],
)
async def test_codings_that_are_not(
    client: httpx.AsyncClient,
    misbehaving_server: MisbehavingServer,
    coding: str,
    body: bytes,
    error: type[TransportError],
    text: str,
) -> None:
    """An error that a retry cannot fix halts; a broken answer is requested again."""
    headers = JSON | {"Stream-Next-Offset": "a", "Content-Encoding": coding}
    misbehaving_server.replies(Reply(200, headers, (body,)))
    with pytest.raises(error, match=text) as caught:
        await read(client, misbehaving_server.url)
    assert type(caught.value) is error
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("live", [None, "sse"])
@pytest.mark.parametrize("step", [1, 100, 10_000])
async def test_a_message_larger_than_the_limit_is_refused_by_its_number(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, live: LiveMode, step: int
) -> None:
    """However it arrives: the messages before it are returned, even one of exactly the limit,
    and none after it.
    """
    limit = len(message(3, "x" * 500))
    items = [*messages(3), message(3, "x" * 500), message(4, "x" * 501), message(5)]
    body = b"[%b]" % b",".join(items)
    if live:
        body = data(*items) + control("b")
    pieces = tuple(body[n : n + step] for n in range(0, len(body), step))
    misbehaving_server.reply = lambda asked: (
        empty("a", "Stream-Up-To-Date")
        if live and "live" not in asked.query
        else Reply(
            200, (EVENTS if live else JSON) | {"Stream-Next-Offset": "b"}, pieces, framing="chunked"
        )
    )
    found: list[Batch] = []
    with pytest.raises(AnswerRefused, match=rf"number 5 is larger than MESSAGE_BYTES = {limit}\."):
        await read(
            client,
            misbehaving_server.url,
            live=live,
            limits=BatchLimits(100, 1_000_000, limit),
            until=keep(found),
        )
    assert keys(found) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (Reply(200, {f"X-{n}": "x" for n in range(20_000)}), ProtocolViolation, "broke"),
        (Reply(200, {"X": "x" * 200_000}), ProtocolViolation, "broke"),
        (
            Reply(200, JSON | {"Stream-Next-Offset": "a"}, (b"[1]",), length=2),
            ProtocolViolation,
            "cut",
        ),
        (
            Reply(
                200,
                JSON | {"Stream-Next-Offset": "a"},
                (b"[1]",),
                length=9,
                framing="length",
                cut=3,
            ),
            ProtocolViolation,
            "broke",
        ),
        (Reply(200, JSON, (b"[1]",), length=-3), ProtocolViolation, "broke"),
        (Reply(200, JSON, (b"[1]",), length="9" * 5_000), ProtocolViolation, "broke"),
        (
            Reply(
                200,
                JSON | {"Stream-Next-Offset": "a", "Transfer-Encoding": "chunked"},
                (b"ffffffffffffffff\r\n[1]",),
                framing="close",
            ),
            ProtocolViolation,
            "broke",
        ),
        (Reply(200, {"Content-Type": "x" * 50_000}), NotJson, "x{50}"),
        (Reply(999), Unavailable, "answered 999"),
    ],
    ids=["headers", "header", "short", "long", "negative", "digits", "chunk", "type", "status"],
)
async def test_heads_that_lie(
    client: httpx.AsyncClient,
    misbehaving_server: MisbehavingServer,
    reply: Reply,
    error: type[TransportError],
    text: str,
) -> None:
    """Thousands of headers, huge ones, wrong lengths of bodies and chunks."""
    misbehaving_server.replies(reply)
    with pytest.raises(error, match=text) as caught:
        await read(client, misbehaving_server.url, silence=2.0)
    assert type(caught.value) is error
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("live", [None, "sse"])
async def test_offsets_and_cursors_have_a_length(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, live: LiveMode | None
) -> None:
    """They become part of URLs: a longer offset is refused, a longer cursor left out."""
    more = f', "upToDate": true, "streamCursor": "{"c" * 5_000}"'
    offsets = ["b" * 4_096, "c" * 4_097]

    def reply(asked: Asked) -> Reply:
        offset = offsets[len(asked.query["offset"]) > 4_000]
        if live is None:
            headers = JSON | {"Stream-Next-Offset": offset, "Stream-Cursor": "c" * 5_000}
            return Reply(200, headers, (b"[%b]" % message(0),))
        if "live" not in asked.query:
            return empty("a", "Stream-Up-To-Date")
        return events(data(message(0)) + control(offset, more), pause=0.3)

    misbehaving_server.reply = reply
    found: list[Batch] = []
    with pytest.raises(ProtocolViolation, match=r"an offset of 4097 characters\."):
        await read(client, misbehaving_server.url, live=live, until=keep(found))
    assert keys(found) == ["0"]
    assert all("cursor" not in asked.query for asked in misbehaving_server.asked)
