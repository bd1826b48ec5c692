"""A Celery worker carries out requested verifications."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from durable_state import operations, tasks
from durable_state.consumer.run import sync
from durable_state.models import Stream, VerificationRun
from tests.consumer.support.consuming import wait_until
from tests.consumer.support.remote import RemoteStream
from tests.servers.process import StreamServer
from tests.wire import message

pytestmark = pytest.mark.django_db(transaction=True)


def test_supervise_has_it_verified(reference_server: StreamServer) -> None:
    """One task carries one out; a second one that was sent for it does nothing."""
    remote = RemoteStream(reference_server.stream())
    remote.append([message("a", "text")])
    stream = Stream.objects.create(name="chat", url=remote.url)
    sync(stream, until_up_to_date=True)
    operations.pause(stream, actor="test")
    operations.ask_to_verify(stream, actor="ada")

    previous, app = tasks.verify.app, Celery("verifying", broker="memory://")
    app.conf.update(
        broker_connection_retry_on_startup=False,
        broker_transport_options={"polling_interval": 0.02},
        worker_hijack_root_logger=False,
    )
    app.set_default()
    try:
        with start_worker(app, pool="threads", concurrency=2, perform_ping_check=False):
            tasks.supervise.delay()
            tasks.supervise.delay()
            wait_until(lambda: VerificationRun.objects.get().ended_at is not None)
    finally:
        app.close()
        previous.set_default()
    run = VerificationRun.objects.get()
    assert (run.state, run.intent.actor) == (VerificationRun.State.EQUAL, "ada")
    assert ":verify:" in run.worker
