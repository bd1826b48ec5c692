"""What a consuming process counts and traces while it works, and what it does without packages."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from durable_state import operations, telemetry
from durable_state.consumer.run import sync
from durable_state.errors import ConfigurationError
from durable_state.models import Stream
from tests.consumer.support.consuming import consuming, wait_until
from tests.consumer.support.remote import RemoteStream
from tests.servers.process import StreamServer
from tests.wire import message

from .support.processes import SCRAPE, run_python


def value(name: str, **labels: str) -> float:
    """The current value of a counter of this process; 0 if it was never counted."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture(scope="module")
def recorded() -> InMemorySpanExporter:
    """The spans that are recorded from now on, by the single provider that a process may have."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.mark.django_db(transaction=True)
def test_commits_are_counted_and_traced(
    rakaia_server: StreamServer, recorded: InMemorySpanExporter
) -> None:
    """Messages, commits and feed entries by stream, and a span for each commit."""
    remote = RemoteStream(rakaia_server.stream())
    remote.append([message(str(number), "hi") for number in range(7)])
    stream = Stream.objects.create(name="counted", url=remote.url)
    recorded.clear()

    sync(stream, until_up_to_date=True)

    stream.refresh_from_db()
    name = stream.name
    assert value("durable_state_committed_messages_total", stream=name) == 7
    assert value("durable_state_commits_total", stream=name) == stream.revision
    assert value("durable_state_feed_entries_total", stream=name) >= 1
    assert value("durable_state_feed_bytes_total", stream=name) > 7 * len('{"text":"hi"}')
    commits = [each for each in recorded.get_finished_spans() if each.name.endswith(" commit")]
    attributes = [each.attributes or {} for each in commits]
    assert sum(each["durable_state.messages"] for each in attributes) == 7  # type: ignore[misc]
    assert {each["durable_state.stream"] for each in attributes} == {name}


@pytest.mark.django_db(transaction=True)
def test_failures_are_counted_by_their_kind(settings: Any) -> None:
    """A server that is down, each time it is tried."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1}
    stream = Stream.objects.create(name="away", url="http://127.0.0.1:9/s")

    def failures() -> float:
        return value("durable_state_retries_total", stream=stream.name, error="Unavailable")

    with consuming(stream):
        wait_until(lambda: failures() >= 2)
    stream.refresh_from_db()
    assert failures() == stream.failures


def test_resets_are_counted_by_their_reason(db: None) -> None:
    """Where somebody asks for one."""
    stream = Stream.objects.create(name="chat", url="http://tests.invalid/c")
    before = value("durable_state_resets_total", reason="asked")
    operations.reset(stream, actor="test")
    assert value("durable_state_resets_total", reason="asked") == before + 1


def test_counters_are_served_by_a_process_without_a_web_server() -> None:
    """As ``run --metrics`` does; if it cannot, it says what to do."""
    telemetry.count_reset(telemetry.ResetReason.GONE)
    url = telemetry.serve_counters("127.0.0.1:0")
    with urllib.request.urlopen(url, timeout=5) as page:
        assert b'durable_state_resets_total{reason="gone"}' in page.read()

    taken = url.removeprefix("http://").removesuffix("/metrics")
    with pytest.raises(ConfigurationError, match="in use"):
        telemetry.serve_counters(taken)
    for nonsense in ("", "metrics", "127.0.0.1:", "65536"):
        with pytest.raises(ConfigurationError, match="not an address"):
            telemetry.serve_counters(nonsense)


def test_without_the_packages_nothing_is_counted() -> None:
    """Both are optional: counting does nothing, and serving names the extra."""
    code = """
import sys
sys.modules["prometheus_client"] = sys.modules["opentelemetry"] = None
from durable_state import telemetry
with telemetry.span("commit", "chat", 1):
    telemetry.count_commit("chat", 1, 0.1, 10)
    telemetry.count_retry("chat", OSError())
    telemetry.count_reset(telemetry.ResetReason.GONE)
    telemetry.count_lost_lease()
try:
    telemetry.serve_counters("0")
except telemetry.serving.ConfigurationError as error:
    print(error.action)
"""
    assert "django-durable-state[metrics]" in run_python(code)


def test_processes_that_share_a_folder_are_scraped_as_one(tmp_path: Path) -> None:
    """As Celery's prefork workers do with ``PROMETHEUS_MULTIPROC_DIR``."""
    count = "from durable_state import telemetry; telemetry.count_commit('chat', 3, 0.1, 10)"
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        run_python(count, **shared)

    assert 'durable_state_committed_messages_total{stream="chat"} 6.0' in run_python(
        SCRAPE, **shared
    )
