"""Decides what a server's answers mean, and what to ask it next.

Opens no connection and never waits.

One session reads one stream. Writing, producers, forks and subscriptions are exchanges of their own
and get sessions of their own; what they share with this one is :class:`Request`, :class:`Answer`
and :func:`refusal`.

Why: decision 15.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from durable_state.errors import NotJson, ProtocolViolation, TransportError, Unavailable
from durable_state.protocol import ArraySplitter, Message, Position, mask_query

from .answer import Answer, check_offset, usable_cursor
from .batches import Batch, Batcher, BatchLimits
from .checkpoint import Checkpoint
from .course import Course
from .events import SLICE, EventBody, MessageTooLarge
from .following import Following
from .patience import Patience
from .recognition import Recognition, suspected
from .refusals import stalled, too_large
from .request import FIRST_EVENT, LiveMode, Mode, Request
from .trust import Doubt, Trust

__all__ = ["ReadSession"]

STUCK = 300.0
"""How long an answer may go on without bringing anything, in seconds."""

_UNCONFIRMED = 10.0
"""How long events wait for their control event, which should follow at once, in seconds."""


class ReadSession:
    """Reads one stream from a position: send :meth:`next_request`, and pass on what comes.

    That is :meth:`begin`, :meth:`feed` for what arrives, :meth:`pass_time` now and then, and
    :meth:`end`. Before using a batch, ask :meth:`recognition`, and carry out the check it returns.
    """

    def __init__(
        self,
        url: str,
        position: Position,
        *,
        live: LiveMode | None,
        limits: BatchLimits,
        checkpoint: Checkpoint | None = None,
        silence: float | None = None,
        stuck_seconds: float = STUCK,
        following: Following | None = None,
    ) -> None:
        """``following`` remembers how earlier sessions fared at the tail, if there were any."""
        self._url = url
        self._following = following or Following(live)
        self._course = Course(url, self._following, silence=silence)
        self._stuck_seconds = stuck_seconds
        self._patience = Patience(limits, stuck_seconds)
        self._limits = limits
        self._most_held = max(limits.bytes, 4 * 1024 * 1024)
        self._batcher = Batcher(position, limits, checkpoint)
        self._trust = Trust(url, checkpoint, silence=silence, message_bytes=limits.message_bytes)
        self._answer: Answer | None = None
        self._splitter = ArraySplitter(limits.message_bytes)
        self._events = EventBody()
        self._brought = False  # whether the current answer brought a message
        self._unconfirmed = False  # whether events were dropped for want of a control event
        self.enough = False
        """Whether the rest of the current answer is not needed, so that it can be closed."""

    # Before the first read, and before a batch is used

    def opening(self) -> Recognition | None:
        """The check to make before the first read; None if there is nothing to compare."""
        # Messages that will be dropped are compared when they come again.
        return None if self._batcher.owed else self._trust.near()

    def recheck(self) -> Recognition | None:
        """The check whether an answer that spoke of another stream was an old one, as from a cache.

        None if nothing can tell.
        """
        return self._trust.any_before()

    def recognition(self, batch: Batch) -> Recognition | None:
        """The check to make before using ``batch``; None if the stream cannot have been replaced.

        Raises: StreamRecreated, if it certainly was.
        """
        check = self._trust.check(brings_messages=bool(batch.messages))
        if check is None and batch.messages:
            self.confirm(batch)
        return check

    def confirm(self, batch: Batch, check: Recognition | None = None) -> Batch | None:
        """Returns the batch, now that the check has passed; None if the stream has gone on
        meanwhile, and is asked again.

        Raises: StreamRecreated.
        """
        if self._trust.doubt is Doubt.MOVED:
            ends_at = self._trust.ends_at(check)
            if ends_at is None:
                self._course.catch_up()
                return None
            # Messages were appended that the server gives only to other readers.
            self._batcher.move(ends_at)
            batch = self._batcher.cut(up_to_date=True)
        self._trust.renew(batch.checkpoint)
        return batch

    # One request and its answer

    def next_request(self) -> Request | None:
        """The request to make next; None once there is nothing left to read."""
        self._answer = None
        return self._course.next_request(self._batcher.offset)

    @property
    def _mode(self) -> Mode:
        return self._course.mode

    def begin(self, status: int, headers: Mapping[str, str], detail: str = "") -> None:
        """Reads the head of the answer. Raises: TransportError."""
        self.enough = False
        try:
            self._answer = Answer.of(status, headers, self._url, self._mode, detail)
        except Unavailable:
            if self._mode is Mode.SSE:
                self._following.cut(self._mode)
            raise
        except NotJson:
            if self._mode is not Mode.SSE:
                raise
            self._following.not_spoken(self._mode)
            self.enough = True
            return
        self._course.keep_cursor(self._answer.cursor)
        self._splitter = ArraySplitter(self._limits.message_bytes)
        self._events = EventBody()
        self._brought = False
        self._patience.begin(is_live=self._mode is not Mode.CATCH_UP)

    def feed(self, data: bytes) -> Iterator[Batch | None]:
        """Reads the next bytes of the body; yields the batches that they complete.

        Yields None where other tasks may run, because a few bytes can complete much.
        Raises: ProtocolViolation, AnswerRefused.
        """
        if self._mode is Mode.SSE:
            yield from self._feed_events(data)
            return
        step = SLICE if self._splitter.is_slow else len(data) or 1
        for start in range(0, len(data), step):
            if start:
                yield None
            yield from self._take_messages(self._splitter.feed(data[start : start + step]))
            if self._splitter.too_large:
                raise self._too_large()

    @property
    def patience(self) -> float:
        """Seconds after which to call :meth:`pass_time`, whether anything arrives or not."""
        return self._patience.seconds(is_urgent=self._holds or self._is_beginning)

    def pass_time(self, now: float) -> Iterator[Batch]:
        """Yields what has waited long enough to be a batch. ``now`` is the time, in seconds.

        Events that no control event confirms are dropped, and requested again by GET.
        Raises: Stalled, if an answer brings nothing, however many bytes arrive.
        """
        held = self._patience.held_for(now, holds=self._holds)
        if self._mode is Mode.SSE:
            if held >= min(_UNCONFIRMED, self._stuck_seconds):
                self._leave_events()
            self._watch_beginning(now)
        elif held >= self._limits.seconds:
            yield from self._take_messages(self._splitter.flush())
            if self._batcher.pending:
                yield self._note(self._batcher.cut())
            self._patience.gave_away(now, holds=self._holds)

        if (seconds := self._patience.stuck_for(now)) is not None:
            if self._mode is not Mode.SSE:
                raise stalled(self._url, seconds)
            self._leave_events()  # a GET tells whether there is a good reason

    @property
    def _is_beginning(self) -> bool:
        """Whether an event stream has not yet begun as it should."""
        return self._mode is Mode.SSE and not self._events.controls

    def _watch_beginning(self, now: float) -> None:
        """Notices that something in between holds back events until there are many."""
        seconds = self._patience.since_begun(now)
        if self._is_beginning and not self._events.held and seconds >= FIRST_EVENT:
            self._following.held_back(self._mode)
            self._leave_events()

    def leave_silent(self) -> bool:
        """Has a GET find out why the server has been silent for too long.

        False if the silence is an error: of a GET, or in the middle of an answer.
        """
        if self._mode is Mode.CATCH_UP or (self._mode is Mode.LONG_POLL and self._answer):
            return False
        if self._mode is Mode.SSE and not self._events.controls:
            self._following.held_back(self._mode)
        self._course.look_why_silent()
        self._trust.doubt_quiet()
        return True

    def leave_cut(self) -> bool:
        """Goes on after the connection ended before an answer's head; False if that is an error."""
        if self._mode is not Mode.SSE or self._answer is not None:
            return False
        self._following.cut(self._mode)
        return True

    @property
    def _holds(self) -> bool:
        if self._mode is Mode.SSE:
            return self._events.held > 0
        return self._splitter.buffered > 0 or self._batcher.pending

    def _leave_events(self) -> None:
        """Drops the events; a GET brings the same messages in a form that can be read in pieces."""
        self._unconfirmed = self._events.held > 0
        self._course.catch_up()
        self.enough = True

    def end(self, seconds: float) -> Iterator[Batch]:
        """Notes that the body is complete, or not needed any further, after ``seconds`` in all.

        Raises: TransportError.
        """
        if self._answer is None:  # it was no event stream
            return
        if self._mode is Mode.SSE and not self._answer.empty:
            if self._is_beginning and not self.enough:
                self._following.cut(self._mode)
            self._trust.doubt_quiet()
        else:
            yield from self._take_messages(self._splitter.finish())
            empty = self._answer.empty or (
                not self._splitter.opened and self._answer.next_offset == self._batcher.offset
            )
            if not self._splitter.complete and not empty:
                yield from self.cut()
                raise self._violation("cut its answer before the array's end")
            yield from self._settle(
                self._answer.next_offset,
                up_to_date=self._answer.up_to_date,
                closed=self._answer.closed,
            )
        if self._mode is not Mode.CATCH_UP and not self._brought:
            self._following.ended(self._mode, seconds)

    def cut(self) -> Iterator[Batch]:
        """Yields what is complete of a body that broke off, unless the stream is in doubt."""
        if self._trust.doubt is not None:
            return
        if self._mode is not Mode.SSE:
            with suppress(ProtocolViolation):  # the caller has the error that matters
                yield from self._take_messages(self._splitter.finish())
        if self._batcher.pending:
            yield self._note(self._batcher.cut())

    # What answers mean

    def _take_messages(self, messages: list[Message]) -> Iterator[Batch]:
        if messages and not self._brought:
            self._brought = True
            self._course.brought()
        if self._batcher.owed:
            messages = self._batcher.skip_known(messages)
            if not self._batcher.recognized:
                raise suspected(self._url)
        for batch in self._batcher.take(messages):
            yield self._note(batch)

    def _note(self, batch: Batch) -> Batch:
        """Notes what a batch brings, which shows that the server makes progress."""
        if batch.messages or batch.up_to_date or batch.closed:
            self._patience.note_moved()
        self._unconfirmed = self._unconfirmed and not batch.messages
        return batch

    def _settle(self, next_offset: str, *, up_to_date: bool, closed: bool) -> Iterator[Batch]:
        """Ends a GET or a long-poll that was answered in full."""
        batcher = self._batcher
        empty, moved = not batcher.seen, next_offset != batcher.offset
        if not empty and not moved:
            yield from self.cut()
            raise self._violation("gave messages, but a Stream-Next-Offset from before them")
        up_to_date = up_to_date or (empty and not moved)
        if empty and up_to_date and self._unconfirmed:
            self._unconfirmed = False
            raise Unavailable(
                f"{mask_query(self._url)} sends events that no control event confirms, and does "
                "not give them when asked.",
                "Set the stream's live mode to long-poll, or correct the server. Retrying "
                "automatically.",
            )
        if batcher.owed and up_to_date:
            raise suspected(self._url)
        if empty and self._course.is_live:
            self._trust.doubt_quiet()
        self._course.settled()
        if empty and moved and up_to_date and batcher.offset != "-1":
            yield from self._distrust(next_offset)
            return
        if moved:
            batcher.move(next_offset)
        over = closed and empty and self._mode is Mode.CATCH_UP
        self._course.proceed(up_to_date=up_to_date, closed=closed, over=over)
        yield self._note(batcher.cut(up_to_date=up_to_date, closed=over))

    def _distrust(self, tail: str) -> Iterator[Batch]:
        """Handles a server that says that the tail is elsewhere, and gives no message.

        A plain GET has to say so too before the stream is compared again. If nothing was read
        before, it is read from its start.
        """
        if self._mode is not Mode.CATCH_UP:
            self._course.catch_up()
        elif self._batcher.next_number == 1:
            self._batcher.move("-1")
        else:
            self._trust.doubt_moved(tail)
            self._course.proceed(up_to_date=True, closed=False, over=False)
            yield self._note(self._batcher.cut(up_to_date=True))

    def _feed_events(self, data: bytes) -> Iterator[Batch | None]:
        up_to_date = reported = False
        for marker in self._events.feed(data):
            check_offset(marker.next_offset, self._url)
            moved = marker.next_offset != self._batcher.offset
            brought = False
            try:
                for part in marker.split(self._limits.message_bytes):
                    if part and not moved:
                        raise self._violation(
                            "gave messages, but a streamNextOffset from before them"
                        )
                    if brought:
                        yield None
                    brought = brought or bool(part)
                    yield from self._take_messages(part)
            except MessageTooLarge:
                raise self._too_large() from None
            if not brought and moved and marker.up_to_date:
                self._course.catch_up()
                self.enough = True
                break
            self._following.began()
            self._batcher.move(marker.next_offset)
            self._course.keep_cursor(usable_cursor(marker.cursor))
            up_to_date, reported = marker.up_to_date, True
            if marker.closed:
                self._course.catch_up()
                self.enough = True
                break
        if reported:
            self._patience.note_moved()
            yield self._note(self._batcher.cut(up_to_date=up_to_date))
        if self._events.held > self._most_held:
            self._leave_events()

    def _too_large(self) -> TransportError:
        return too_large(self._url, self._batcher.next_number, self._limits.message_bytes)

    def _violation(self, what: str) -> TransportError:
        return ProtocolViolation(f"{mask_query(self._url)} {what}.", "Retrying automatically.")
