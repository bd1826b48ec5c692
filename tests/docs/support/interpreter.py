"""Runs the Python blocks of one page in its own process: one namespace, in the page's project.

Reads one JSON object ``{"text", "name", "line"}`` per line, and answers each with ``{"printed",
"error"}``.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from typing import Any

import django
from django.core.management import call_command


def main() -> None:
    """Sets Django up as ``manage.py`` does, creates the tables that have no migrations, and
    executes.
    """
    sys.path.insert(0, "")
    out = sys.stdout
    sys.stdout = sys.stderr
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("check")
    namespace: dict[str, Any] = {"__name__": "__page__"}
    for line in sys.stdin:
        block = json.loads(line)
        printed, error = io.StringIO(), ""
        try:
            # Line numbers in a traceback are those of the page.
            code = compile("\n" * block["line"] + block["text"], block["name"], "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, namespace)
        except BaseException:
            error = traceback.format_exc()
        out.write(json.dumps({"printed": printed.getvalue(), "error": error}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
