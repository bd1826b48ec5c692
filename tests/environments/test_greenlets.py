"""A worker whose threads are greenlets consumes nothing, and says so where people look."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from durable_state.models import Status, Stream
from tests.consumer.support.project import address
from tests.servers.require import skip_or_fail

from .support.command import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


def test_gevent_is_refused() -> None:
    """Once at its start, and in the status of each stream that waits."""
    if find_spec("gevent") is None:
        skip_or_fail("gevent is not installed")
    Stream.objects.create(name="waiting", url="http://tests.invalid/s")
    module = "tests.environments.support.greenlets"
    databases = json.dumps({"default": address("default")})
    done = subprocess.run(
        [sys.executable, "-m", module, databases],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Streams cannot be consumed in a worker with gevent") == 2
    told = json.loads(done.stdout)
    assert told["name"] == "waiting"
    assert "with gevent" in told["why"]
    assert "--pool prefork" in told["action"]
    assert Stream.objects.get().status == Status.NEW
