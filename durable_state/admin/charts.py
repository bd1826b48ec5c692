"""Charts of how streams fared lately: bars made of their samples, as inline SVG.

Why: decision 74.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from durable_state.databases.clock import database_now
from durable_state.models import StreamSample
from durable_state.operations.wording import number, span

__all__ = ["Chart", "hour_charts", "sparklines"]

HEIGHT = 100
"""Size of the drawings in SVG units; pages stretch them to fit."""


@dataclass(slots=True)
class _Bucket:
    """Totals for one span of time: a bar of the drawing."""

    messages: float = 0.0
    commits: float = 0.0
    commit_ms: float = 0.0
    lag_ms: float = 0.0


@dataclass(slots=True)
class _Series:
    """Buckets of equal length up to now. They begin at multiples of their length, so that a drawing
    stays the same until something happens.
    """

    count: int
    seconds: int
    now: float
    buckets: list[_Bucket] = field(init=False)
    since: float = field(init=False)

    def __post_init__(self) -> None:
        self.buckets = [_Bucket() for _ in range(self.count)]
        last = self.now - self.now % self.seconds
        self.since = last - (self.count - 1) * self.seconds

    def add(self, sample: StreamSample) -> None:
        """Spreads a sample evenly over the time that it covers."""
        end = sample.at.timestamp()
        start = end - sample.seconds
        first = max(int((start - self.since) // self.seconds), 0)
        last = min(int((end - 0.001 - self.since) // self.seconds), self.count - 1)
        for place in range(first, last + 1):
            begins = self.since + place * self.seconds
            shared = min(end, begins + self.seconds) - max(start, begins)
            part = shared / sample.seconds if sample.seconds else 1.0
            bucket = self.buckets[place]
            bucket.messages += sample.messages * part
            bucket.commits += sample.commits * part
            bucket.commit_ms += sample.commit_ms * part
            bucket.lag_ms = max(bucket.lag_ms, sample.lag_ms)

    def rates(self) -> list[float]:
        """Messages per second; for the last bucket, over the part of it that has passed."""
        over = max(self.now - (self.since + (self.count - 1) * self.seconds), 10.0)
        spans = [float(self.seconds)] * (self.count - 1) + [min(over, self.seconds)]
        return [each.messages / some for each, some in zip(self.buckets, spans, strict=True)]

    def begin_of(self, place: int) -> datetime:
        """The local time at which a bucket begins."""
        return timezone.localtime(datetime.fromtimestamp(self.since + place * self.seconds, tz=UTC))


class Chart(NamedTuple):
    """One drawing and the texts around it."""

    name: str
    title: str
    highest: str
    drawing: SafeString
    is_empty: bool


def sparklines(using: str, pks: Sequence[int]) -> dict[int, SafeString]:
    """The rate of each stream in the last ten minutes: one query for all of them."""
    now = database_now(using)
    series = {pk: _Series(40, 15, now.timestamp()) for pk in pks}
    for sample in _samples(using, pks, now - timedelta(minutes=10)):
        series[sample.stream_id].add(sample)
    return {pk: _sparkline(each.rates()) for pk, each in series.items()}


def hour_charts(using: str, pk: int) -> list[Chart]:
    """Rate, lag and commit time of one stream in the last hour."""
    now = database_now(using)
    series = _Series(120, 30, now.timestamp())
    for sample in _samples(using, [pk], now - timedelta(hours=1)):
        series.add(sample)

    buckets = series.buckets
    lags = [each.lag_ms / 1000 for each in buckets]
    commits = [each.commit_ms / each.commits if each.commits else 0.0 for each in buckets]
    return [
        _chart("rate", _("Messages per second"), series, series.rates(), _per_second),
        _chart("lag", _("Lag"), series, lags, span),
        _chart("commit", _("Time of a commit"), series, commits, _milliseconds),
    ]


def _samples(using: str, pks: Sequence[int], since: datetime) -> Iterable[StreamSample]:
    if not pks:
        return []
    rows = StreamSample.objects.using(using)
    return rows.filter(stream__in=pks, at__gte=since).order_by().iterator(2000)


def _sparkline(rates: list[float]) -> SafeString:
    label = _("Messages per second in the last ten minutes")
    return format_html(
        '<svg class="ds-spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><title>{}</title>{}</svg>',
        len(rates) * 4,
        HEIGHT,
        label,
        label,
        _bars(rates, max(rates), lambda _place: ""),
    )


def _chart(
    name: str,
    title: str,
    series: _Series,
    values: list[float],
    read: Callable[[float], str],
) -> Chart:
    highest = max(values)

    def told(place: int) -> str:
        return f"{series.begin_of(place):%H:%M:%S}  {read(values[place])}"

    drawing = format_html(
        '<svg class="ds-plot ds-plot-{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{}">{}</svg>',
        name,
        len(values) * 4,
        HEIGHT,
        _("%(title)s in the last hour; peak %(highest)s")
        % {"title": title, "highest": read(highest)},
        _bars(values, highest, told),
    )
    return Chart(name, title, read(highest), drawing, not highest)


def _bars(values: list[float], highest: float, told: Callable[[int], str]) -> SafeString:
    """Draws a bar for each value other than zero; even the smallest stays visible."""
    return format_html_join(
        "",
        '<rect x="{}" y="{}" width="3" height="{}">{}</rect>',
        (
            (4 * place, HEIGHT - height, height, _tooltip(told(place)))
            for place, value in enumerate(values)
            if value > 0 and (height := max(round(HEIGHT * value / highest), 3))
        ),
    )


def _tooltip(text: str) -> SafeString | str:
    return format_html("<title>{}</title>", text) if text else ""


def _per_second(rate: float) -> str:
    return f"{number(rate, _places(rate))}/s"


def _milliseconds(value: float) -> str:
    return f"{number(value, _places(value))} ms"


def _places(value: float) -> int:
    return 1 if 0 < value < 9.95 else 0
