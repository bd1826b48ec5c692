"""What state a stream is in, in the words that the command, the admin, REST and monitoring share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.utils import timezone

from durable_state.conf import Settings, get_settings
from durable_state.consumer.lease import valid_leases
from durable_state.models import (
    DeadLetter,
    Lease,
    ParkedChange,
    Progress,
    Replay,
    Status,
    Stream,
    TypeState,
)
from durable_state.protocol.url import mask_query
from durable_state.registry import registry

__all__ = ["StreamReport", "needs_reset", "report", "reports"]

_CHUNK = 500  # primary keys in one query: below every database's limit of parameters


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A stream's state at one moment.

    ``status`` is a ``Status``, or "paused", "rebuilding", "snapshot-open". ``lag_seconds`` is how long ago the rows were last known to
    be up to date: 0.0 while a worker holds the live or closed stream. ``why`` is empty, or says in one line why the stream is stuck.
    ``replayed`` is how many messages a reset has folded by now, None where none is under way.
    """

    name: str
    url: str
    status: str
    offset: str
    ordinal: int
    revision: int
    applied: int
    parked: int
    dead_letters: int
    lag_seconds: float
    since: datetime
    last_error: str
    action: str
    why: str = ""
    replayed: int | None = None

    @property
    def stuck(self) -> bool:
        """Whether the stream waits for a person: nothing gets better by itself."""
        return bool(self.why)

    def to_json(self) -> dict[str, Any]:
        """The dict of ``status --json``: ``since`` as ISO 8601, ``lag_seconds`` in seconds, the URL's query masked."""
        return {
            "name": self.name,
            "url": self.url,
            "status": self.status,
            "offset": self.offset,
            "ordinal": self.ordinal,
            "revision": self.revision,
            "applied": self.applied,
            "parked": self.parked,
            "dead_letters": self.dead_letters,
            "lag_seconds": self.lag_seconds,
            "since": self.since.isoformat(),
            "last_error": self.last_error,
            "action": self.action,
        }


def report(stream: Stream) -> StreamReport:
    """The report of one stream, read anew from its database."""
    found = reports(stream._state.db or "default", pks=[stream.pk])
    if not found:
        raise Stream.DoesNotExist(f"The stream {stream.name!r} is no longer there.")
    return found[stream.pk]


def reports(using: str = "default", *, pks: Iterable[int] | None = None) -> dict[int, StreamReport]:
    """The reports of all streams, or of those with the given primary keys, by primary key and ordered by name.

    Five queries for each 500 streams, however many letters and parked changes they have.
    """
    known = (
        list(Stream.objects.using(using).values_list("pk", flat=True)) if pks is None else list(pks)
    )
    found: list[tuple[Stream, StreamReport]] = []
    for start in range(0, len(known), _CHUNK):
        found.extend(_reports(using, known[start : start + _CHUNK]))
    return {stream.pk: each for stream, each in sorted(found, key=lambda pair: pair[0].name)}


def _reports(using: str, pks: list[int]) -> list[tuple[Stream, StreamReport]]:
    parked = _counts(ParkedChange.objects.using(using).filter(stream__in=pks))
    letters = _counts(DeadLetter.objects.using(using).filter(stream__in=pks, generation=0))
    types: dict[int, list[TypeState]] = {}
    for state in TypeState.objects.using(using).filter(stream__in=pks):
        types.setdefault(state.stream_id, []).append(state)
    leased = set(valid_leases(using).filter(stream__in=pks).values_list("stream", flat=True))
    streams = (
        Stream.objects.using(using)
        .filter(pk__in=pks)
        .select_related("lease", "snapshot", "rebuild", "replay")
    )
    moment = _Moment(get_settings(), timezone.now())
    found = []
    for stream in streams:
        old = [state.type for state in types.get(stream.pk, []) if needs_reset(state, stream.name)]
        shown = moment.report(
            stream, parked.get(stream.pk, 0), letters.get(stream.pk, 0), old, stream.pk in leased
        )
        found.append((stream, shown))
    return found


def needs_reset(state: TypeState, stream_name: str) -> bool:
    """Whether only a reset brings the type's rows to the fold: messages were passed over, or an older mapping made the rows.

    Asked of the mapping as it is now: a type that was registered or changed since shows it before its next message comes.
    """
    mapping = registry.find(state.type, stream_name)
    if mapping is None:
        return False
    return state.needs_reset or (
        state.fingerprint != mapping.fingerprint and bool(state.fingerprint or state.unregistered)
    )


def _counts(rows: Any) -> dict[int, int]:
    return dict(rows.order_by().values_list("stream").annotate(Count("pk")))


def _replay(stream: Stream) -> Replay | None:
    return getattr(stream, "replay", None)


def _decisive(stream: Stream) -> Progress:
    """What says how the stream fares: its replay, which ends whatever state the stream is in, unless all is well with that."""
    replay = _replay(stream)
    if replay is not None and (
        replay.status in _FAILING or stream.status in (Status.HALTED, Status.NEEDS_RESET)
    ):
        return replay
    return stream


_FAILING = (Status.HALTED, Status.NEEDS_RESET, Status.RETRYING)


def _shown_status(stream: Stream, types: list[str]) -> str:
    """One word for the stream: what a person has to know first."""
    if stream.paused:
        return "paused"
    if (decisive := _decisive(stream)).status in _FAILING:
        return str(decisive.status)
    if stream.rebuild is not None or _replay(stream) is not None:
        return "rebuilding"
    if types:
        return Status.NEEDS_RESET.value
    if stream.snapshot is not None:
        return "snapshot-open"
    return str(stream.status)


@dataclass(frozen=True, slots=True)
class _Moment:
    """When, and by which settings, streams are judged."""

    settings: Settings
    now: datetime

    def report(
        self, stream: Stream, parked: int, letters: int, types: list[str], leased: bool
    ) -> StreamReport:
        status = _shown_status(stream, types)
        why, action = self._why_stuck(stream, status, leased, types)
        decisive, replay = _decisive(stream), _replay(stream)
        return StreamReport(
            name=stream.name,
            url=mask_query(stream.url),
            status=status,
            offset=stream.offset,
            ordinal=stream.ordinal,
            revision=stream.revision,
            applied=stream.applied_count,
            parked=parked,
            dead_letters=letters,
            lag_seconds=self._lag(stream, status, leased),
            since=decisive.since,
            last_error=decisive.last_error,
            action=action,
            why=why,
            replayed=None if replay is None else replay.ordinal,
        )

    def _why_stuck(
        self, stream: Stream, status: str, leased: bool, types: list[str]
    ) -> tuple[str, str]:
        """(why it is stuck or "", what to do about it or "")."""
        name, decisive = stream.name, _decisive(stream)
        error = decisive.last_error
        if status == "paused":
            return "", f"durable_state resume {name}"
        if status == Status.HALTED:
            return (
                error or "halted",
                decisive.action or f"Remove the cause, then: durable_state resume {name}",
            )
        if decisive.status == Status.NEEDS_RESET:
            return (
                error or "the server no longer holds what was read",
                decisive.action or f"durable_state reset {name}",
            )
        if status == Status.RETRYING:
            failing = self.now - decisive.since
            stuck = failing > timedelta(seconds=self.settings.stuck_seconds)
            if not stuck:
                return "", decisive.action
            return (
                f"failing for {_seconds(failing)}: {error}",
                decisive.action or "Look at the stream server and the way to it.",
            )
        if status == Status.NEEDS_RESET:
            listed = ", ".join(types[:5]) + (", ..." if len(types) > 5 else "")
            one = f" --type {types[0]}" if len(types) == 1 else ""
            return f"needs a reset to fold again: {listed}", f"durable_state reset {name}{one}"
        if status != Status.CLOSED and not leased:
            wanted = (_replay(stream) or stream).since
            alone = self.now - max(self._last_consumed(stream), min(wanted, self.now))
            if alone > timedelta(seconds=self.settings.stuck_seconds):
                start = "Start a worker: Celery with durable_state.tasks.supervise in beat, or durable_state run"
                return f"no worker for {_seconds(alone)}", start
        return self._open_for_too_long(stream) or ("", decisive.action)

    def _open_for_too_long(self, stream: Stream) -> tuple[str, str] | None:
        for opened, what, action in (
            (
                _replay(stream),
                "reset",
                "See with `durable_state status` whether it comes nearer to its end.",
            ),
            (stream.rebuild, "rebuild", "See whether the stream's writer still appends its state."),
            (
                stream.snapshot,
                "snapshot",
                "See whether the stream's writer still appends its snapshot-end.",
            ),
        ):
            if opened is not None:
                open_for = self.now - opened.created_at
                if open_for > timedelta(seconds=self.settings.snapshot_open_seconds):
                    return f"a {what} is open for {_seconds(open_for)}", action
        return None

    def _last_consumed(self, stream: Stream) -> datetime:
        """When a worker last held the stream, or when it last had a reason to take it for its own sake."""
        lease: Lease | None = getattr(stream, "lease", None)
        # A lease that was given back expired long ago; then the last time up to date tells more.
        known = [
            stream.since,
            stream.created_at,
            stream.up_to_date_at,
            None if lease is None else lease.expires_at,
        ]
        return min(max(each for each in known if each is not None), self.now)

    def _lag(self, stream: Stream, status: str, leased: bool) -> float:
        shows_all = status in (Status.LIVE, Status.CLOSED, "rebuilding") and stream.rebuild is None
        if shows_all and (
            stream.status == Status.CLOSED or (stream.status == Status.LIVE and leased)
        ):
            return 0.0
        last = stream.up_to_date_at or stream.created_at
        if stream.status == Status.LIVE:
            last = self._last_consumed(
                stream
            )  # a quiet stream was up to date for as long as somebody listened to it
        return round(max((self.now - last).total_seconds(), 0.0), 3)


def _seconds(span: timedelta) -> str:
    return f"{int(span.total_seconds())} s"
