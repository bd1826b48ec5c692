"""Broker and channel layer, both on one Redis, go away for a while: streams are still consumed and
pages still served, and afterwards everything is as before.

``DURABLE_STATE_OUTAGE_SECONDS`` asks for more than the usual 30 seconds.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from example_project.history.repository import Repository
from example_project.history.source import GitHistory
from tests import private
from tests.repositories import ScratchRepository
from tests.servers.process import StreamServer
from tests.servers.require import skip_or_fail

from .support.site import Site, running, tell
from .support.subscriber import WebsocketSubscriber

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

SECONDS = float(os.environ.get("DURABLE_STATE_OUTAGE_SECONDS", "30"))
PAUSE = 5.0
"""Seconds between two events: a slice of six seconds ends several times meanwhile."""
SHOWN_SECONDS = 8.0
"""A lease, a second between two polls of the feed log, and some slack for two cores."""


def lines_of_ours(site: Site) -> int:
    """How many lines all processes have logged about consuming and serving."""
    logs = {process.log for process in site.processes.running}
    return sum(
        "durable_state" in line
        for log in logs
        for line in log.read_text(errors="replace").splitlines()
    )


def test_gone_for_a_while(
    tmp_path: Path, reference_server: StreamServer, postgres_url: str
) -> None:
    """Each event is committed and shown within seconds, before, during and after the outage; the
    logs mention it, and do not overflow.
    """
    try:
        server = private.redis()
    except private.NotFound as error:
        skip_or_fail(str(error))
    repository = ScratchRepository(tmp_path / "repository")
    repository.import_commits(20)
    source = GitHistory(Repository(repository.folder))
    url = reference_server.stream("history")
    told = tell(url, list(source.news()))
    repository.git("reset", "-q", "--hard")

    with running(tmp_path, url, postgres_url, server.url) as site:
        subscriber = WebsocketSubscriber(site.websocket_url)

        def show(name: str) -> None:
            repository.write(name, "live")
            repository.commit(f"Seen {name}")
            tell(url, list(source.news()))
            subscriber.wait_until(lambda state: ("file", name) in state, SHOWN_SECONDS)

        site.wait_for_ordinal(told, 60)
        show("before")
        logged = lines_of_ours(site)
        try:
            server.stop(signal.SIGKILL)
            until, number = time.monotonic() + SECONDS, 0
            while time.monotonic() < until:
                show(f"meanwhile {number}")
                number += 1
                time.sleep(PAUSE)
            assert lines_of_ours(site) - logged < 100

            server.start()
            for each in range(4):
                show(f"afterwards {each}")
                time.sleep(PAUSE)
            assert site.files() == source.tree()
            [tokens] = site.one("select token from durable_state_lease")
            wait_for_next_holder(site, int(str(tokens)))
        finally:
            server.stop()
        subscriber.close()


def wait_for_next_holder(site: Site, token: int) -> None:
    """Returns once the broker has delivered another task, which took over the lease."""
    deadline = time.monotonic() + 30
    while int(str(site.one("select token from durable_state_lease")[0])) <= token:
        assert time.monotonic() < deadline, site.worker.last_words()
        time.sleep(0.2)
