"""Everything with real processes: reference stream server, Celery on Redis and RabbitMQ,
PostgreSQL, an ASGI server, websockets; and kills.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from durable_state.models import DISPOSITIONS
from example_project.history.repository import Repository
from example_project.history.source import GitHistory
from tests.repositories import ScratchRepository
from tests.servers.process import StreamServer

from .support.site import QUEUE, running, tell
from .support.subscriber import WebsocketSubscriber

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(480)]


def test_killed_again_and_again(
    tmp_path: Path, reference_server: StreamServer, postgres_url: str, own_redis_url: str
) -> None:
    """The worker is killed again and again in the middle of the sync; in the end the rows, and a
    websocket client, equal git's tree.
    """
    repository = ScratchRepository(tmp_path / "repository")
    repository.import_commits(2500)
    source = GitHistory(Repository(repository.folder))
    url = reference_server.stream("history")
    told = tell(url, list(source.news()))

    with running(tmp_path, url, postgres_url, own_redis_url) as site:
        subscriber = WebsocketSubscriber(site.websocket_url)
        for part in range(1, 7):
            site.wait_for_ordinal(told * part // 8, 60)
            site.kill_worker()
        site.wait_for_ordinal(told, 120)

        in_the_middle = [ordinal for ordinal in site.kills if 0 < ordinal < told]
        assert len(set(in_the_middle)) >= 4, site.kills
        assert site.files() == source.tree()
        assert site.one("select count(*), sum(commits) from history_author") == (9, 2500)
        assert site.one("select count(*) from history_commit") == (2500,)
        counted = " + ".join(DISPOSITIONS.values())
        assert site.one(f"select ordinal, {counted} from durable_state_stream") == (told, told)
        assert site.one(
            "select (select count(*) from durable_state_deadletter),"
            " (select count(*) from durable_state_parkedchange)"
        ) == (0, 0)

        # A live event, all the way to the browser.
        repository.git("reset", "-q", "--hard")
        repository.write("appended later.txt", "live")
        commit = repository.commit("Seen live")
        tell(url, list(source.news()))
        subscriber.wait_until(lambda state: ("file", "appended later.txt") in state, 30)
        assert subscriber.state["commit", commit]["subject"] == "Seen live"

        tree = source.tree()
        shown = {
            key: (value["mode"], value["blob"])
            for (kind, key), value in subscriber.state.items()
            if kind == "file"
        }
        assert shown == tree == site.files()
        subscriber.close()

        late = WebsocketSubscriber(site.websocket_url)
        late.wait_until(lambda state: state == subscriber.state, 30)
        late.close()


def test_rabbitmq_carries_the_tasks(
    tmp_path: Path,
    reference_server: StreamServer,
    postgres_url: str,
    own_redis_url: str,
    rabbitmq_url: str,
) -> None:
    """The same with the other broker: a history, a kill, and a live event that a websocket
    client sees.
    """
    repository = ScratchRepository(tmp_path / "repository")
    repository.import_commits(300)
    source = GitHistory(Repository(repository.folder))
    url = reference_server.stream("history")
    told = tell(url, list(source.news()))

    with running(tmp_path, url, postgres_url, own_redis_url, rabbitmq_url) as site:
        site.wait_for_ordinal(told // 4, 60)
        site.kill_worker()
        site.wait_for_ordinal(told, 60)
        assert site.kills[0] < told
        assert site.files() == source.tree()
        subscriber = WebsocketSubscriber(site.websocket_url)
        repository.git("reset", "-q", "--hard")
        repository.write("appended later.txt", "live")
        repository.commit("Seen live")
        tell(url, list(source.news()))
        subscriber.wait_until(lambda state: ("file", "appended later.txt") in state, 30)
        subscriber.close()
    with Connection(rabbitmq_url) as connection:
        # Raises if there is none: then the tasks would have gone another way.
        channel: Any = (
            connection.default_channel
        )  # AMQP: the type knows only what all of Kombu shares
        channel.queue_declare(QUEUE, passive=True)
        channel.queue_delete(QUEUE)
