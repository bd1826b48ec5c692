"""A process whose threads are gevent's, as in a Celery worker with `--pool gevent`: `python -m
tests.environments.support.greenlets DATABASES_AS_JSON` prints the result of one task.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402

from tests.consumer.support.project import set_up  # noqa: E402


def main() -> None:
    """Starts the worker part of Celery, and runs one task."""
    set_up(json.loads(sys.argv[1]), {})
    from celery.signals import worker_ready

    from durable_state import tasks
    from durable_state.operations import reports

    worker_ready.send(sender=None)
    tasks.consume.run()
    for report in reports("default").values():
        print(json.dumps({"name": report.name, "why": report.why, "action": report.action}))


if __name__ == "__main__":
    main()
