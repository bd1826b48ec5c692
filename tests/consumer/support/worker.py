"""A consumer as a process of its own, to be killed:
`python -m tests.consumer.support.worker DATABASE_AS_JSON STREAM SETTINGS_AS_JSON`.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Runs `durable_state sync STREAM --until-up-to-date`."""
    database, stream, ours = sys.argv[1:]
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        SECRET_KEY="tests",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "durable_state",
            "tests.app",
        ],
        DATABASES={"default": json.loads(database)},
        DURABLE_STATE=json.loads(ours),
    )
    django.setup()
    call_command("durable_state", "sync", stream, "--until-up-to-date")


if __name__ == "__main__":
    main()
