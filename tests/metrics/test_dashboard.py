"""The dashboard, the alert rules and the documentation name existing metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from durable_state import telemetry
from durable_state.metrics import StreamCollector
from tests.services import available

DOCS = Path(__file__).parents[2] / "docs"
NAMED = ["monitoring/grafana-dashboard.json", "monitoring/alerts.yml", "how-to/metrics.md"]
NAME = re.compile(r"durable_state_(?:stream|database|commit|batch|retr|reset|lost|feed)\w*")


@pytest.fixture
def known(db: None) -> set[str]:
    """The names of all possible series."""
    assert telemetry.__name__  # its import registers its counters
    families = [*REGISTRY.collect(), *StreamCollector().collect()]
    names = set()
    for family in families:
        names |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
    return {name for name in names if name.startswith("durable_state_")}


@pytest.mark.django_db(databases=["default", *available])
@pytest.mark.parametrize("page", NAMED)
def test_names_metrics_that_there_are(known: set[str], page: str) -> None:
    """A renamed metric leaves no empty panel behind."""
    found = set(NAME.findall((DOCS / page).read_text()))
    assert len(found) >= 5
    assert found <= known


@pytest.mark.django_db(databases=["default", *available])
def test_the_documentation_names_all(known: set[str]) -> None:
    """Each metric is in the tables."""
    text = (DOCS / "how-to/metrics.md").read_text()
    missing = {
        name
        for name in known
        if not name.endswith(("_total", "_bucket")) and not re.search(rf"`{name}(_total)?`", text)
    }
    assert not missing


def test_the_dashboard_is_whole() -> None:
    """Each panel says what it shows, and none overlaps another."""
    dashboard = json.loads((DOCS / "monitoring/grafana-dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert panel["description"]
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken
                taken.add((x, y))
