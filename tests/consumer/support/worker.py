"""A consumer as its own process, to be killed: `python -m tests.consumer.support.worker
DATABASE_AS_JSON STREAM SETTINGS_AS_JSON`.
"""

from __future__ import annotations

import json
import sys

from tests.consumer.support.project import set_up


def main() -> None:
    """Runs `durable_state sync STREAM --until-up-to-date`."""
    database, stream, ours = sys.argv[1:]
    from django.core.management import call_command

    set_up({"default": json.loads(database)}, json.loads(ours))
    call_command("durable_state", "sync", stream, "--until-up-to-date")


if __name__ == "__main__":
    main()
