"""The page that Prometheus scrapes: what it shows, and to whom."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from durable_state import testing
from durable_state.models import Stream
from durable_state.operations import report
from tests.services import available
from tests.wire import change, message

from .support.processes import SCRAPE, run_python

pytestmark = pytest.mark.django_db(databases=["default", *available])

TOKEN = "s3cret"


def samples(page: Any) -> dict[tuple[str, ...], float]:
    """The values by (metric, labels' values in the order of their names, without the database)."""
    found = {}
    for family in text_string_to_metric_families(page.content.decode()):
        for sample in family.samples:
            labels = {name: sample.labels[name] for name in sorted(sample.labels)}
            labels.pop("database", None)
            found[sample.name, *labels.values()] = sample.value
    return found


@pytest.fixture
def scrape(settings: Any) -> Any:
    """Scrapes with the token that the settings name."""
    settings.DURABLE_STATE = {"METRICS_TOKEN": TOKEN}

    def get() -> dict[tuple[str, ...], float]:
        page = Client().get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"})
        assert page.status_code == 200
        return samples(page)

    return get


def test_each_stream_is_told_as_status_tells_it(scrape: Any) -> None:
    """Counts by disposition, what is parked and refused, and the status as a label."""
    refused = change("message", "2", text=5)
    testing.apply("chat", [message("1", "hi"), refused, 5])
    Stream.objects.create(name="halted", url="http://host.test/h", status="halted")

    found = scrape()

    told = report(Stream.objects.get(name="chat"))
    assert found["durable_state_stream_messages_total", "applied", "chat"] == 1
    assert found["durable_state_stream_messages_total", "dead_letters", "chat"] == 2
    assert found["durable_state_stream_dead_letters", "chat"] == told.dead_letters == 2
    assert found["durable_state_stream_ordinal", "chat"] == 3
    assert found["durable_state_stream_status", "halted", "halted"] == 1
    assert found["durable_state_stream_stuck", "halted"] == 1
    assert found["durable_state_stream_held", "chat"] == 0


def test_what_is_counted_adds_up_to_the_ordinal(scrape: Any) -> None:
    """As everywhere: no message is left out of the metrics."""
    testing.apply("chat", [message("1", "hi"), 5, change("nobody-knows", "1", a=1)])
    found = scrape()
    counted = [
        value
        for (metric, *labels), value in found.items()
        if metric == "durable_state_stream_messages_total" and labels[1] == "chat"
    ]
    assert sum(counted) == found["durable_state_stream_ordinal", "chat"] == 3


@pytest.mark.parametrize("brought", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer sécret"])
def test_without_the_token_nothing_is_told(settings: Any, brought: str | None) -> None:
    """Names of streams are not public; the answer says what is required."""
    settings.DURABLE_STATE = {"METRICS_TOKEN": TOKEN}
    Stream.objects.create(name="chat", url="http://host.test/c")
    page = Client().get("/metrics/", headers={"Authorization": brought} if brought else {})
    assert page.status_code == 403
    assert b"METRICS_TOKEN" in page.content
    assert b"chat" not in page.content


def test_an_unset_token_lets_nobody_in() -> None:
    """Not even for those who send an empty one."""
    for brought in ("Bearer ", "Bearer None"):
        page = Client().get("/metrics/", headers={"Authorization": brought})
        assert page.status_code == 403


def test_who_may_view_streams_may_look(make_user: Any) -> None:
    """By Django's own permission, in a browser."""
    client = Client()
    client.force_login(make_user("app.view_message", name="somebody"))
    assert client.get("/metrics/").status_code == 403
    client.force_login(make_user("durable_state.view_stream"))
    page = client.get("/metrics/")
    assert page.status_code == 200
    assert b"durable_state_stream_status" in page.content


def test_a_scrape_asks_as_often_for_many_streams_as_for_few(
    scrape: Any, django_assert_max_num_queries: Any
) -> None:
    """The number of queries does not grow with streams."""
    for number in range(30):
        Stream.objects.create(name=f"s{number}", url="http://host.test/s")
    scrape()
    with django_assert_max_num_queries(8):  # of the default database
        assert scrape()["durable_state_stream_ordinal", "s7"] == 0


def test_a_database_that_does_not_answer_is_told_by_itself() -> None:
    """The streams of the other databases are still shown."""
    told = run_python(SCRAPE)
    assert 'durable_state_database_up{database="away"} 0.0' in told
    assert 'durable_state_database_up{database="default"} 1.0' in told
    assert 'durable_state_stream_ordinal{database="default",stream="chat"} 0.0' in told
