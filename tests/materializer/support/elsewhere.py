"""A project in another time zone, as its own process. `python -m
tests.materializer.support.elsewhere SETTINGS_AS_JSON` prints what it sees as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from typing import Any

MOMENTS = {
    "summer": "2024-07-01T12:00:00Z",
    "winter": "2024-01-01T00:30:00.123456+09:00",
    "before": "1999-12-31T23:59:59-05:00",
    "twice": "2024-11-03T05:30:00Z",  # in New York, the first of two half past one
}


def messages() -> list[dict[str, Any]]:
    """Rows with a moment in a column, and rows whose key is one."""
    headers = {"operation": "upsert"}
    found: list[dict[str, Any]] = [
        {"type": "author", "key": "a", "value": {"commits": 1}, "headers": headers}
    ]
    for name, text in MOMENTS.items():
        value = {"author": "a", "subject": "s", "authored_at": text}
        found.append({"type": "commit", "key": name, "value": value, "headers": headers})
    for key in ("2024-07-01T12:00:00Z", "2024-07-01T21:00:00+09:00"):
        found.append({"type": "sight", "key": key, "value": {}, "headers": headers})
    return found


def look(alias: str) -> dict[str, Any]:
    """Applies the messages, twice and in a snapshot, and takes a lease."""
    from django.utils import timezone

    from durable_state import EntityMapping, register
    from durable_state.consumer import lease, runnable
    from durable_state.consumer.moment import at_one_moment
    from durable_state.feed.pruning import prune
    from durable_state.feed.rows import page_of_keys, rows_by_key
    from durable_state.models import DeadLetter, FeedEntry, Stream
    from durable_state.operations import report
    from durable_state.registry import registry
    from durable_state.testing import apply
    from tests import leases
    from tests.app.models import AllFields
    from tests.wire import END, START

    @register("sight")
    class SightMapping(EntityMapping):
        model = AllFields
        key_field = "moment"
        fields = ["day"]

    def values(entity_type: str, stream: Stream) -> dict[str, Any]:
        mapping = registry.find(entity_type, "z")
        assert mapping is not None
        keys, _ = page_of_keys(mapping, mapping.rows(stream), None)
        found = rows_by_key(mapping, mapping.rows(stream), keys)
        return {key: mapping.represent(row) for key, row in found.items()}

    apply("z", messages())
    stream = Stream.objects.get(name="z")
    seen: dict[str, Any] = {
        "commits": values("commit", stream),
        "sights": values("sight", stream),
        "letters": dict(DeadLetter.objects.values_list("key", "reason")),
        "frame": bytes(FeedEntry.objects.get().changes).decode(),
        "written again": [],
    }
    for again in (messages(), [START, *messages(), END]):
        apply("z", again)
        newest = FeedEntry.objects.order_by("-revision")[0]
        seen["written again"].append(bytes(newest.changes).decode())
    with at_one_moment(stream) as current:
        seen["at one moment"] = values("commit", current)

    token = leases.acquire(stream, "elsewhere:1:a:x")
    taken = leases.acquire(stream, "elsewhere:2:b:y")
    attendance = lease.attendances(alias, [stream.pk])[stream.pk]
    shown = report(stream).to_json()
    seen["lease"] = [token, taken, attendance.holder, lease.valid_leases(alias).count()]
    seen["idle"] = attendance.idle and attendance.idle.total_seconds()
    seen["status"] = [shown["status"], shown["stuck"], shown["since"]]
    seen["runnable"] = [runnable(alias).filter(pk=stream.pk).exists()]
    time.sleep(1.2)
    for minutes in (None, -1, 1):
        retry_at = minutes and timezone.now() + timedelta(minutes=minutes)
        Stream.objects.filter(pk=stream.pk).update(retry_at=retry_at)
        seen["runnable"].append(runnable(alias).filter(pk=stream.pk).exists())
    seen["lease"].append(leases.acquire(stream, "elsewhere:2:b:y"))

    seen["pruned"] = [prune(alias)]
    FeedEntry.objects.update(created_at=timezone.now() - timedelta(minutes=70))
    seen["pruned"].append(prune(alias))
    return seen


def main() -> None:
    """The settings of the test suite, with the given changes."""
    import django
    from django.conf import settings

    project = json.loads(sys.argv[1])
    os.environ["TZ"] = project["TIME_ZONE"]  # as Django does with a settings module
    time.tzset()
    settings.configure(
        SECRET_KEY="tests",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "durable_state",
            "tests.app",
        ],
        DURABLE_STATE={"LEASE_SECONDS": 1, "FEED_KEEP_SECONDS": 3600},
        **project,
    )
    django.setup()
    print(json.dumps(look("default")))


if __name__ == "__main__":
    main()
