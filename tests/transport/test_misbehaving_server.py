"""Whatever a server does wrong, no message is lost or doubled, and the error says what happened."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from durable_state.errors import (
    ConfigurationError,
    NotJson,
    ProtocolViolation,
    RequestRefused,
    Silent,
    StreamGone,
    StreamNotFound,
    StreamRecreated,
    TransportError,
    Unavailable,
)
from durable_state.protocol import START, Position
from durable_state.transport import (
    Batch,
    BatchLimits,
    Checkpoint,
    LiveMode,
    Reader,
    head,
    open_client,
)
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply, StreamReplies

from .support.answers import EVENTS, JSON, control, data, empty, events, keep
from .support.reading import LIMITS, keys, message, messages, read


async def read_on(
    client: httpx.AsyncClient, url: str, *, limits: BatchLimits = LIMITS, tries: int = 50
) -> tuple[list[Batch], list[TransportError]]:
    """Reads like a consumer: after an error, a new reader continues at the last position."""
    found: list[Batch] = []
    errors: list[TransportError] = []
    position, checkpoint = START, None
    for _ in range(tries):
        try:
            async with aclosing(
                Reader(
                    client, url, position, live=None, limits=limits, checkpoint=checkpoint
                ).batches()
            ) as batches:
                async for batch in batches:
                    found.append(batch)
                    position, checkpoint = batch.position, batch.checkpoint
            return found, errors
        except TransportError as error:
            errors.append(error)
    pytest.fail("never up to date")


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_body_cut_at_any_byte_gives_the_same_messages(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, framing: str
) -> None:
    """Complete messages are returned at once; the rest after a new start at that place."""
    good = StreamReplies([messages(3), [message("},{"), message('\\"é')], messages(2, 5)])
    size = len(good(Asked("GET", "/", {"offset": "-1"}, {}, "/")).pieces[0])
    for cut in range(size):
        spoiled = False

        def reply(asked: Asked, cut: int = cut) -> Reply:
            nonlocal spoiled
            answer = good(asked)
            if spoiled:
                return answer
            spoiled = True
            return Reply(answer.status, answer.headers, answer.pieces, framing=framing, cut=cut)  # type: ignore[arg-type]

        misbehaving_server.reply = reply
        found, errors = await read_on(client, misbehaving_server.url)
        assert keys(found) == ["0", "1", "2", "},{", '\\"é', "5", "6"]
        assert [type(error) for error in errors] == [ProtocolViolation]
        assert found[-1].position.ordinal == 7


async def test_a_server_that_cuts_every_answer_still_makes_progress(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """As long as each brings one message more than the last."""
    good = StreamReplies([messages(10)])
    step = len(message(0)) + 1
    cuts = iter(range(step + 2, 1_000, step))

    def reply(asked: Asked) -> Reply:
        answer = good(asked)
        return Reply(answer.status, answer.headers, answer.pieces, cut=next(cuts))

    misbehaving_server.reply = reply
    found, errors = await read_on(client, misbehaving_server.url)
    assert keys(found) == [str(n) for n in range(10)]
    assert len(errors) > 5


@pytest.mark.parametrize("place", ["type", "key", "value", "headers", "none"])
async def test_bytes_that_are_no_text_spoil_one_item_alone(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, place: str
) -> None:
    """They stop no stream, wherever in its item they are; the item can be recognized again."""
    item = {
        "type": b'{"type":"\xff","key":"1","value":{},"headers":{"operation":"insert"}}',
        "key": b'{"type":"t","key":"\xff","value":{},"headers":{"operation":"insert"}}',
        "value": b'{"type":"t","key":"1","value":"\xff","headers":{"operation":"insert"}}',
        "headers": b'{"type":"t","key":"1","value":{},"headers":{"operation":"\xff"}}',
        "none": b'"\xff"',
    }[place]
    misbehaving_server.reply = StreamReplies([[message(0), item], messages(2, 1)])
    batches = await read(client, misbehaving_server.url)
    assert keys(batches) == ["0", "?", "1", "2"]
    last = batches[-1]
    misbehaving_server.reply = StreamReplies([[message(0), item], messages(2, 1), messages(1, 3)])
    more = await read(client, misbehaving_server.url, last.position, checkpoint=last.checkpoint)
    assert keys(more) == ["3"]


@pytest.mark.parametrize("page", [1, 2, 5])
async def test_offsets_are_opaque(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, page: int
) -> None:
    """They come back unchanged, whatever characters they hold, and the query is in order."""
    misbehaving_server.reply = good = StreamReplies(
        [messages(2, n) for n in range(0, 10, 2)], page=page
    )
    batches = await read(client, misbehaving_server.url + "/s?zone=a%2Fb&live=x&alpha=")
    assert keys(batches) == [str(n) for n in range(10)]
    assert batches[-1].position.offset == good.offset(5)
    for asked in misbehaving_server.asked:
        assert list(asked.query) == ["alpha", "offset", "zone"]
        assert asked.query["zone"] == "a/b"


async def test_a_page_that_shrinks_is_no_other_stream(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """A position inside an answer is valid if the server now gives the same messages in smaller
    answers.
    """
    misbehaving_server.reply = good = StreamReplies([messages(3, n) for n in range(0, 12, 3)])
    batches = await read(client, misbehaving_server.url, limits=BatchLimits(4, 10_000))
    assert batches[1].position == Position("-1", 8, 8)
    for page in (1, 2):
        good.page = page
        for batch in batches:
            rest = await read(
                client, misbehaving_server.url, batch.position, checkpoint=batch.checkpoint
            )
            assert keys(rest) == [str(n) for n in range(batch.position.ordinal, 12)]
            assert rest[-1].position.ordinal == 12


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (Reply(400, {}, (b"Invalid offset\nformat",)), RequestRefused, "Invalid offset format"),
        (Reply(401), RequestRefused, "HEADERS"),
        (Reply(403), RequestRefused, "HEADERS"),
        (Reply(404), StreamNotFound, "Check the URL"),
        (Reply(405), RequestRefused, "does not offer"),
        (Reply(410), StreamGone, "reset"),
        (Reply(413), RequestRefused, "too large"),
        (Reply(418), RequestRefused, "operator"),
        (Reply(429, {"Retry-After": "7"}), Unavailable, "automatically"),
        (Reply(500), Unavailable, "automatically"),
        (Reply(503), Unavailable, "automatically"),
        (Reply(206, JSON), ProtocolViolation, "206"),
        (
            Reply(302, {"Location": "https://other.example:8/x?token=secret"}),
            RequestRefused,
            r"redirects to https://other\.example:8/x\?token=\*\*\*\. If the stream has moved",
        ),
        (Reply(307, {"Location": "/elsewhere"}), RequestRefused, "http://127.0.0.1:"),
        (Reply(304), ProtocolViolation, "304"),
        (Reply(200, {"Content-Type": "text/html"}, (b"<p>",)), NotJson, "text/html"),
        (Reply(200, {"Stream-Next-Offset": "a"}, (b"[]",)), NotJson, "no content type"),
        (Reply(200, JSON, (b"[]",)), ProtocolViolation, "Stream-Next-Offset"),
        (Reply(204), ProtocolViolation, "Stream-Next-Offset"),
        (Reply(200, JSON | {"Stream-Next-Offset": "a"}, (b'{"a":1}',)), ProtocolViolation, "array"),
        (Reply(200, JSON | {"Stream-Next-Offset": "a"}, (b"",)), ProtocolViolation, "cut"),
        (
            Reply(
                200, JSON | {"Stream-Next-Offset": "a", "Content-Encoding": "gzip"}, (b"no gzip",)
            ),
            ProtocolViolation,
            "broke",
        ),
        (Reply(reset=True), ProtocolViolation, "broke"),
        (
            Reply(
                200,
                JSON | {"Stream-Next-Offset": "a"},
                (b"[",),
                framing="chunked",
                cut=1,
                silent=True,
            ),
            Silent,
            "silent for 0.3 s",
        ),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else None,
)
async def test_each_refusal_has_its_error(
    client: httpx.AsyncClient,
    misbehaving_server: MisbehavingServer,
    reply: Reply,
    error: type[TransportError],
    text: str,
) -> None:
    """It names the URL without its secrets, and what to do."""
    misbehaving_server.replies(reply)
    with pytest.raises(error, match=text) as caught:
        await read(client, misbehaving_server.url + "/s?token=hidden", silence=0.3)
    assert type(caught.value) is error
    assert caught.value.action
    assert "/s?token=*** " in str(caught.value) or "JSON array" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(misbehaving_server.asked) == 1


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        (timedelta(hours=2), 7_000, 7_200),
        (timedelta(hours=-2), 0, 0),
    ],
)
async def test_retry_after_is_read_in_both_forms(
    client: httpx.AsyncClient,
    misbehaving_server: MisbehavingServer,
    value: str | timedelta,
    low: float,
    high: float,
) -> None:
    """Seconds, or a date."""
    said = (
        format_datetime(datetime.now(UTC) + value, usegmt=True)
        if isinstance(value, timedelta)
        else value
    )
    misbehaving_server.replies(Reply(503, {"Retry-After": said}))
    with pytest.raises(Unavailable) as caught:
        await read(client, misbehaving_server.url)
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "1.5", "٧", f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"]
)
async def test_retry_after_that_cannot_be_read_is_ignored(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, value: str
) -> None:
    """The error is the same without it."""
    misbehaving_server.replies(Reply(429, {"Retry-After": value.encode().decode("latin-1")}))
    with pytest.raises(Unavailable) as caught:
        await read(client, misbehaving_server.url)
    assert caught.value.retry_after is None


async def test_a_request_that_cannot_be_sent(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """A refused connection is retried; a URL or a header that cannot be sent is a mistake."""
    with pytest.raises(Unavailable, match="cannot be reached"):
        await read(client, "http://127.0.0.1:9/s")
    with pytest.raises(ConfigurationError):
        await read(client, "ftp://127.0.0.1/s")

    async def headers() -> dict[str, str]:
        return {"Authorization": "Bearer a\nb"}

    with pytest.raises(RequestRefused, match="HEADERS"):
        await read(client, misbehaving_server.url, headers=headers)


async def test_a_204_to_a_plain_get_is_an_empty_answer(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Some servers leave out the brackets."""
    misbehaving_server.replies(Reply(204, {"Stream-Next-Offset": "a"}))
    (batch,) = await read(client, misbehaving_server.url)
    assert batch.up_to_date
    assert batch.position == Position("a", 0, 0)


async def test_gzip_is_taken_apart_while_it_arrives(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """And a cut in it is a cut."""
    good = StreamReplies([messages(2_000)])
    body = gzip.compress(good(Asked("GET", "/", {"offset": "-1"}, {}, "/")).pieces[0])
    cut: int | None = len(body) // 2

    def reply(asked: Asked) -> Reply:
        nonlocal cut
        answer = good(asked)
        spoiled, cut = cut, None
        packed = body if asked.query["offset"] == "-1" else gzip.compress(answer.pieces[0])
        return Reply(
            200,
            answer.headers | {"Content-Encoding": "gzip"},
            (packed,),
            framing="chunked",
            cut=spoiled,
        )

    misbehaving_server.reply = reply
    found, errors = await read_on(client, misbehaving_server.url)
    assert keys(found) == [str(n) for n in range(2_000)]
    assert len(errors) == 1
    assert len(found) > 2


@pytest.mark.parametrize("flags", [(), ("Stream-Up-To-Date",)])
async def test_a_closed_stream_is_believed_once_a_get_finds_nothing(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, flags: tuple[str, ...]
) -> None:
    """Not by a data answer, and not by a header that is not exactly true."""
    good = Reply(
        200, JSON | {"Stream-Next-Offset": "a", "Stream-Closed": "true"}, (b"[%b]" % message("0"),)
    )
    late = Reply(
        200, JSON | {"Stream-Next-Offset": "b", "Stream-Closed": "true"}, (b"[%b]" % message("1"),)
    )
    misbehaving_server.replies(good, late, empty("b", "Stream-Closed", *flags))
    batches = await read(client, misbehaving_server.url, live="sse")
    assert keys(batches) == ["0", "1"]
    assert [batch.closed for batch in batches] == [False, False, True]
    assert len(misbehaving_server.asked) == 3
    assert [asked.query.get("live") for asked in misbehaving_server.asked] == [None] * 3


async def test_an_answer_that_does_not_move_is_not_read_for_ever(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Messages before an offset that stays the same would come again and again."""
    misbehaving_server.replies(
        Reply(200, JSON | {"Stream-Next-Offset": "a"}, (b"[%b]" % message("0"),))
    )
    with pytest.raises(ProtocolViolation, match="before them"):
        await read(client, misbehaving_server.url)


@pytest.mark.parametrize("offset", ["-1", "now"])
async def test_a_reserved_offset_is_not_followed(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, offset: str
) -> None:
    """One would read everything again, the other would skip messages."""
    reserved = Reply(200, JSON | {"Stream-Next-Offset": offset}, (b"[%b]" % message("0"),))
    misbehaving_server.replies(reserved)
    with pytest.raises(ProtocolViolation, match="reserved"):
        await read(client, misbehaving_server.url)
    misbehaving_server.reply = lambda asked: (
        events(data(message(0)) + control(offset))
        if "live" in asked.query
        else empty("a", "Stream-Up-To-Date")
    )
    with pytest.raises(ProtocolViolation, match="reserved"):
        await read(client, misbehaving_server.url, live="sse")


async def test_a_204_to_an_event_stream_says_that_nothing_is_new(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """It is how browsers are told to stop; a closed stream may be reported this way."""
    misbehaving_server.reply = lambda asked: (
        Reply(204, {"Stream-Next-Offset": "a", "Stream-Closed": "true"})
        if "live" in asked.query
        else empty(
            "a", "Stream-Up-To-Date", *["Stream-Closed"] * (len(misbehaving_server.asked) > 1)
        )
    )
    batches = await read(client, misbehaving_server.url, live="sse")
    assert [batch.closed for batch in batches] == [False, False, True]


async def test_logs_show_no_query(
    client: httpx.AsyncClient,
    misbehaving_server: MisbehavingServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """httpx writes each URL to its log; the values in ours are masked, those of other clients
    are not our business.
    """
    caplog.set_level("DEBUG")
    misbehaving_server.replies(empty("a", "Stream-Up-To-Date"))
    await read(client, misbehaving_server.url + "/s?token=hidden")
    assert "token=***" in caplog.text
    assert "hidden" not in caplog.text
    async with httpx.AsyncClient() as other:
        await other.get(misbehaving_server.url + "/s?token=theirs")
    assert "theirs" in caplog.text


async def test_the_cursor_is_echoed(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """In each live request, the newest one."""
    cursors = iter("123")

    def reply(asked: Asked) -> Reply:
        if "live" not in asked.query:
            return empty("a", "Stream-Up-To-Date")
        headers = {"Stream-Next-Offset": "a", "Stream-Up-To-Date": "true"}
        cursor = next(cursors, None)
        return Reply(204, headers | ({"Stream-Cursor": cursor} if cursor else {}), framing="length")

    misbehaving_server.reply = reply
    await read(
        client, misbehaving_server.url, live="long-poll", until=lambda found: len(found) == 4
    )
    live = [asked for asked in misbehaving_server.asked if "live" in asked.query]
    assert [asked.query.get("cursor") for asked in live] == [None, "1", "2"]
    assert list(live[1].query) == ["cursor", "live", "offset"]


async def test_events_split_anywhere_give_the_same_messages(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Even if the connection ends between the pieces: messages that no control event confirmed
    come again, once.
    """
    body = (
        b": hello\r\n\r\n"
        + data(message(0), message(1))
        + control("b", "")
        + data(message(2))
        + data(message(3))
        + control("c")
    )
    after = {"-1": 0, "a": 0, "b": 2, "c": 4}
    for cut in range(len(body)):
        spoiled = False

        def reply(asked: Asked, cut: int = cut) -> Reply:
            nonlocal spoiled
            if "live" not in asked.query:
                if asked.query["offset"] == "-1":
                    return empty("a", "Stream-Up-To-Date")
                items = b",".join(messages(4)[after[asked.query["offset"]] :])
                return Reply(
                    200,
                    JSON | {"Stream-Next-Offset": "c", "Stream-Up-To-Date": "true"},
                    (b"[%b]" % items,),
                )
            if not spoiled:
                spoiled = True
                return events(body[: cut // 2], body[cut // 2 :], cut=cut)
            rest = messages(4)[after[asked.query["offset"]] :]
            return events(
                (data(*rest) if rest else b"") + control("c", ', "streamClosed": true'), pause=0.0
            )

        misbehaving_server.reply = reply
        found: list[Batch] = []

        def until(batches: list[Batch], found: list[Batch] = found) -> bool:
            found.append(batches[-1])
            return len(keys(found)) == 4

        try:
            await read(client, misbehaving_server.url, live="sse", until=until)
        except ProtocolViolation:  # not one control event came
            position = found[-1].position
            await read(client, misbehaving_server.url, position, live="sse", until=until)
        assert keys(found) == ["0", "1", "2", "3"]
        assert found[-1].position == Position("c", 0, 4)


async def test_events_without_a_control_event_are_bounded(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """Too much of it: the connection is dropped, and a GET brings the same."""
    big = message("big", "x" * 100_000)

    def reply(asked: Asked) -> Reply:
        if "live" in asked.query:
            return events(*[data(big)] * 100)
        if len(misbehaving_server.asked) == 1:
            return empty("a", "Stream-Up-To-Date")
        return Reply(
            200,
            JSON | {"Stream-Next-Offset": "b", "Stream-Up-To-Date": "true"},
            (b"[%b]" % b",".join([big] * 100),),
        )

    misbehaving_server.reply = reply
    limits = BatchLimits(1_000, 1_000_000)
    batches = await read(
        client,
        misbehaving_server.url,
        live="sse",
        limits=limits,
        until=lambda found: len(keys(found)) == 100,
    )
    assert [asked.query.get("live") for asked in misbehaving_server.asked] == [None, "sse", None]
    assert all(batch.bytes <= 1_000_000 for batch in batches)


async def test_many_messages_under_one_control_come_in_bounded_batches(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """With positions inside the answer, from which a GET continues."""
    body = data(*messages(10))
    misbehaving_server.reply = lambda asked: (
        events(body + control("b")) if "live" in asked.query else empty("a", "Stream-Up-To-Date")
    )
    batches = await read(
        client,
        misbehaving_server.url,
        live="sse",
        limits=BatchLimits(4, 10_000),
        until=lambda found: len(keys(found)) == 10,
    )
    assert [batch.position for batch in batches] == [
        Position("a", 0, 0),
        Position("a", 4, 4),
        Position("a", 8, 8),
        Position("b", 0, 10),
    ]
    assert [batch.up_to_date for batch in batches] == [True, False, False, True]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (events(b'event: control\ndata: {"upToDate": true}\n\n'), ProtocolViolation),
        (events(b"event: control\ndata: nonsense\n\n"), ProtocolViolation),
        (events(b'event: control\ndata: {"streamNextOffset": "\xff"}\n\n'), ProtocolViolation),
        (events(data(b'{"cut":') + control("b")), ProtocolViolation),
        (events(data(message(0)) + control("a")), ProtocolViolation),
        (Reply(200, EVENTS | {"Stream-SSE-Data-Encoding": "base64"}, (data(b"AAAA"),)), NotJson),
        (Reply(404), StreamNotFound),
        (Reply(500), Unavailable),
    ],
)
async def test_events_that_break_the_protocol(
    client: httpx.AsyncClient,
    misbehaving_server: MisbehavingServer,
    reply: Reply,
    error: type[TransportError],
) -> None:
    """Each is its own error; none is taken for data."""
    misbehaving_server.reply = lambda asked: (
        reply if "live" in asked.query else empty("a", "Stream-Up-To-Date")
    )
    found: list[Batch] = []
    with pytest.raises(error) as caught:
        await read(
            client,
            misbehaving_server.url,
            live="sse",
            silence=0.3,
            until=keep(found),
        )
    assert type(caught.value) is error
    assert keys(found) == []


class TestRecreated:
    """The URL serves another stream than before."""

    async def last(
        self, client: httpx.AsyncClient, server: MisbehavingServer
    ) -> tuple[Position, Checkpoint]:
        """Reads a stream of three messages, and returns its position."""
        server.reply = StreamReplies([messages(3)])
        batch = (await read(client, server.url))[-1]
        assert batch.checkpoint is not None
        return batch.position, batch.checkpoint

    @pytest.mark.parametrize(
        "others", [[], messages(1), messages(3, 1), messages(9, 9), [*messages(2), message(9)]]
    )
    async def test_other_messages(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, others: list[bytes]
    ) -> None:
        """Fewer, as many, or more: they are not the ones that were read."""
        position, checkpoint = await self.last(client, misbehaving_server)
        misbehaving_server.reply = StreamReplies([others] if others else [])
        with pytest.raises(StreamRecreated):
            await read(client, misbehaving_server.url, position, checkpoint=checkpoint)

    async def test_the_same_messages_and_more_are_the_same_stream(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
    ) -> None:
        """Even if the server adds an offset to their headers, or other white space."""
        position, checkpoint = await self.last(client, misbehaving_server)
        same = [
            b'{ "headers":{"offset":"7","operation":"insert"},"value": 1,"key":"%d","type":"t"}' % n
            for n in range(3)
        ]
        misbehaving_server.reply = StreamReplies([same, messages(2, 3)])
        assert keys(
            await read(client, misbehaving_server.url, position, checkpoint=checkpoint)
        ) == ["3", "4"]

    async def test_the_check_reads_no_more_than_it_needs(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
    ) -> None:
        """The rest of a long answer is not fetched."""
        groups = [[message(n, "x" * 1_000) for n in range(20_000)]]
        misbehaving_server.reply = StreamReplies(groups)
        last = (await read(client, misbehaving_server.url))[-1]
        before = misbehaving_server.bytes_sent
        good = StreamReplies(groups)

        def reply(asked: Asked) -> Reply:
            answer = good(asked)
            (body,) = answer.pieces
            pieces = tuple(body[n : n + 100_000] for n in range(0, len(body), 100_000))
            return Reply(answer.status, answer.headers, pieces, framing="length")

        misbehaving_server.reply = reply
        await read(client, misbehaving_server.url, last.position, checkpoint=last.checkpoint)
        assert misbehaving_server.bytes_sent - before < 15_000_000
        assert misbehaving_server.asked[-2].query["offset"] == "-1"

    async def test_a_checkpoint_that_is_no_longer_kept_proves_nothing(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
    ) -> None:
        """Retention drops the old messages of a stream that continues."""
        position, checkpoint = await self.last(client, misbehaving_server)
        good = StreamReplies([messages(3), messages(1, 3)])
        misbehaving_server.reply = lambda asked: (
            Reply(410) if asked.query["offset"] == "-1" else good(asked)
        )
        assert keys(
            await read(client, misbehaving_server.url, position, checkpoint=checkpoint)
        ) == ["3"]

    async def test_another_tail_without_messages_is_looked_into(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
    ) -> None:
        """A stale answer from a cache is harmless if the stream itself ends where we are."""
        position, checkpoint = await self.last(client, misbehaving_server)
        good = StreamReplies([messages(3)])
        misbehaving_server.reply = lambda asked: (
            good(asked)
            if asked.query["offset"] == "-1"
            else empty("elsewhere", "Stream-Up-To-Date")
        )
        (batch,) = await read(client, misbehaving_server.url, position, checkpoint=checkpoint)
        assert batch.position == position
        assert batch.up_to_date
        good.groups.append(messages(1, 7))
        with pytest.raises(StreamRecreated):
            await read(client, misbehaving_server.url, position, checkpoint=checkpoint)
        with pytest.raises(StreamRecreated):
            await read(client, misbehaving_server.url, position)

    @pytest.mark.parametrize("live", ["sse", "long-poll"])
    async def test_messages_that_are_not_for_us_make_no_other_stream(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, live: LiveMode
    ) -> None:
        """The offset advances without them; our messages come, once, and nothing is read again."""
        stream = StreamReplies([messages(3), [], [], messages(2, 3), [], messages(1, 5)])
        tail = 1

        def reply(asked: Asked) -> Reply:
            nonlocal tail
            if "live" in asked.query:
                tail = min(tail + 1, 6)
            seen = StreamReplies(stream.groups[:tail])
            answer = seen(asked)
            if asked.query.get("live") != "sse":
                return answer
            start = seen.index(asked.query["offset"])
            found = [each for group in seen.groups[start:] for each in group]
            return events(*([data(*found)] if found else []), control(seen.offset(tail)))

        misbehaving_server.reply = reply
        batches = await read(
            client, misbehaving_server.url, live=live, until=lambda found: len(keys(found)) == 6
        )
        assert keys(batches) == [str(n) for n in range(6)]
        assert batches[-1].position == Position(stream.offset(6), 0, 6)
        last = batches[-1].checkpoint
        assert last is not None
        fresh = (await read(client, misbehaving_server.url))[-1].checkpoint
        assert fresh is not None
        assert last.fingerprint == fresh.fingerprint

    async def test_where_nothing_was_read_before_it_is_read_from_the_start(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
    ) -> None:
        """There is nothing to compare: an empty stream may have been created anew, and grown."""
        old, new = StreamReplies([[]], name="old"), StreamReplies([messages(2)], name="new")
        misbehaving_server.reply = old
        start = (await read(client, misbehaving_server.url))[-1]
        misbehaving_server.reply = lambda asked: (
            new(asked) if asked.query["offset"] == "-1" else empty("new", "Stream-Up-To-Date")
        )
        batches = await read(
            client, misbehaving_server.url, start.position, checkpoint=start.checkpoint
        )
        assert keys(batches) == ["0", "1"]
        # A stream whose messages are all for others.
        tails = iter("abcdef")
        misbehaving_server.reply = lambda asked: empty(next(tails), "Stream-Up-To-Date")
        batches = await read(
            client, misbehaving_server.url, start.position, checkpoint=start.checkpoint
        )
        assert [batch.position for batch in batches] == [Position("b", 0, 0)]

    @pytest.mark.parametrize("live", ["sse", "long-poll"])
    async def test_data_after_a_quiet_live_answer_is_checked_first(
        self, client: httpx.AsyncClient, misbehaving_server: MisbehavingServer, live: LiveMode
    ) -> None:
        """The stream was replaced by a longer one while nobody looked: not one of its messages
        gets through.
        """
        old, new = StreamReplies([messages(3)]), StreamReplies([messages(3, 10), messages(3, 13)])
        quiet = False

        def reply(asked: Asked) -> Reply:
            nonlocal quiet
            if not quiet and "live" in asked.query:
                quiet = True
                offset = old.offset(1)
                if live == "sse":
                    return events(control(offset), pause=0.3)
                wire = offset.encode().decode("latin-1")
                return Reply(
                    204,
                    {"Stream-Next-Offset": wire, "Stream-Up-To-Date": "true"},
                    (b"",),
                    pause=0.3,
                )
            if quiet and live == "sse" and "live" in asked.query:
                return events(data(*messages(3, 13)) + control(new.offset(2)))
            return (new if quiet else old)(asked)

        misbehaving_server.reply = reply
        found: list[Batch] = []
        with pytest.raises(StreamRecreated):
            await read(client, misbehaving_server.url, live=live, until=keep(found))
        assert keys(found) == ["0", "1", "2"]


async def test_a_slow_consumer_pauses_the_server(
    client: httpx.AsyncClient, misbehaving_server: MisbehavingServer
) -> None:
    """A response of 60 MB: the server gets ahead of the reader only by the socket's buffers."""
    items = b",".join(message(n, "x" * 1_000) for n in range(1_000))
    pieces = (b"[" + items, *[b"," + items] * 59, b"]")
    misbehaving_server.replies(
        Reply(200, JSON | {"Stream-Next-Offset": "a", "Stream-Up-To-Date": "true"}, pieces)
    )
    reader = Reader(
        client, misbehaving_server.url, START, live=None, limits=BatchLimits(500, 10_000_000)
    )
    taken = most_ahead = 0
    async with aclosing(reader.batches()) as batches:
        async for batch in batches:
            taken += batch.bytes
            if batch.position.ordinal in (1_000, 20_000, 40_000):
                await asyncio.sleep(0.2)
                most_ahead = max(most_ahead, misbehaving_server.bytes_sent - taken)
    assert batch.position == Position("a", 0, 60_000)
    assert most_ahead < 20_000_000


async def test_the_client_keeps_no_cookies_and_follows_no_redirect(
    misbehaving_server: MisbehavingServer,
) -> None:
    """Errors from one stream's server are not repeated for another stream."""
    headers = {"Stream-Next-Offset": "a", "Set-Cookie": "session=1"}
    misbehaving_server.head = Reply(200, headers)
    async with open_client() as client:
        await head(client, misbehaving_server.url)
        await head(client, misbehaving_server.url)
        misbehaving_server.head = Reply(308, {"Location": "/x"})
        with pytest.raises(RequestRefused):
            await head(client, misbehaving_server.url)
    assert all("cookie" not in asked.headers for asked in misbehaving_server.heads)
    assert misbehaving_server.heads[0].headers["user-agent"].startswith("django-durable-state/")
    assert len(misbehaving_server.heads) == 3
