"""A Celery worker as its own process, on the test database: `python -m
tests.consumer.support.celery_worker DATABASE_AS_JSON SETTINGS_AS_JSON BROKER POOL`.
"""

from __future__ import annotations

import json
import sys

from tests.consumer.support.project import set_up


def main() -> None:
    """Runs the worker until it is told to end; the test sends ``supervise``."""
    database, ours, broker, pool = sys.argv[1:]
    from celery import Celery

    set_up({"default": json.loads(database)}, json.loads(ours))
    app = Celery("worker", broker=broker)
    app.conf.update(
        broker_connection_retry_on_startup=False,
        task_default_queue=json.loads(ours)["QUEUE"],
    )
    app.autodiscover_tasks()
    app.worker_main(["worker", "--pool", pool, "--concurrency", "2", "--loglevel", "WARNING"])


if __name__ == "__main__":
    main()
