"""The metrics of all streams, read from the tables when they are scraped."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import django.db
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from durable_state.models import DISPOSITIONS
from durable_state.operations import StreamReport, databases_with_streams, reports

__all__ = ["StreamCollector"]

logger = logging.getLogger("durable_state.metrics")

_DATABASE = ("database",)
_LABELS = (*_DATABASE, "stream")

Found = list[tuple[tuple[str, str], StreamReport]]
"""The reports, with their databases' and streams' names."""


class StreamCollector(Collector):
    """What ``durable_state status`` says of each stream, as metrics.

    A scrape takes five queries per database and 500 streams, in whichever process answers it.
    Register it once, in one process: its metrics are the same in all of them.
    """

    def describe(self) -> Iterable[Metric]:
        """Describes nothing, so that registering the collector asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics as of now. A database that does not answer only has ``database_up`` 0."""
        up = GaugeMetricFamily("durable_state_database_up", "1 if it answers.", labels=_DATABASE)
        found: Found = []
        for using in databases_with_streams():
            try:
                found += [((using, report.name), report) for report in reports(using).values()]
            except django.db.Error as error:
                logger.warning("The metrics of the database %r cannot be read: %s", using, error)
                up.add_metric([using], 0)
            else:
                up.add_metric([using], 1)

        yield up
        yield _statuses(found)
        yield _messages(found)
        for name, help_text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"durable_state_stream_{name}", help_text, labels=_LABELS)
            for labels, report in found:
                gauge.add_metric(labels, value(report))
            yield gauge


def _statuses(found: Found) -> Metric:
    status = GaugeMetricFamily(
        "durable_state_stream_status", "1 for its current status.", labels=[*_LABELS, "status"]
    )
    for labels, report in found:
        status.add_metric([*labels, report.status], 1)
    return status


def _messages(found: Found) -> Metric:
    messages = CounterMetricFamily(
        "durable_state_stream_messages",
        "Messages read, by what became of them first. A reset counts them again.",
        labels=[*_LABELS, "disposition"],
    )
    for labels, report in found:
        for disposition in DISPOSITIONS:
            messages.add_metric([*labels, disposition], getattr(report.account, disposition))
    return messages


_GAUGES: list[tuple[str, str, Any]] = [
    ("stuck", "1 if it waits for a person.", lambda report: float(report.stuck)),
    (
        "lag_seconds",
        "Seconds since its rows were last known to be up to date.",
        lambda report: report.lag_seconds,
    ),
    ("ordinal", "Messages read since its start.", lambda report: report.ordinal),
    ("revision", "Its commits.", lambda report: report.revision),
    ("parked", "Changes that are parked now, up to 100001.", lambda report: report.parked),
    (
        "dead_letters",
        "Dead letters that exist now, up to 100001.",
        lambda report: report.dead_letters,
    ),
    ("held", "1 if a worker consumes it.", lambda report: float(bool(report.holder))),
]
"""The name and help text of each gauge, and its value in a report."""
