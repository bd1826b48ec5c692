"""What a stream's page shows about its verifications: progress and results."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from durable_state.databases.clock import database_now
from durable_state.models import Stream, VerificationRun
from durable_state.operations.wording import number
from durable_state.policy import Insight

__all__ = ["shown_verifications", "told_progress", "told_story"]

State = VerificationRun.State
LISTED = 5
"""How many verifications a page shows."""
PATIENCE = timedelta(seconds=30)
"""How long a page waits before it says that no worker has taken up a verification."""
_TONES = {State.ASKED: "quiet", State.RUNNING: "busy", State.EQUAL: "good"}


def shown_verifications(request: HttpRequest, stream: Stream) -> list[dict[str, Any]]:
    """The newest verifications, with as much of their results as the user may see."""
    runs = VerificationRun.objects.using(stream.using).filter(stream=stream)
    found = list(runs.select_related("intent")[:LISTED])
    return [
        {
            "run": run,
            "tone": _TONES.get(State(run.state), "bad"),
            "is_open": run.state in VerificationRun.OPEN,
            "is_waiting": _waits(run),
            "progress": told_progress(run),
            "percent": _percent(run),
            "result": run.result or {},
            "lines": _examples(request, stream, run) if place == 0 else [],
            "story": told_story(request, run) if place == 0 else "",
        }
        for place, run in enumerate(found)
    ]


def told_story(request: HttpRequest, run: VerificationRun) -> str:
    """The history of the entity that was to be verified, if the user may see its row."""
    story = (run.result or {}).get("story", [])
    if not story:
        return ""
    readable = Insight(request.user, run.stream).entities(run.entity_type, [run.entity_key])
    return "\n".join(story) if readable else _("(you do not see the row)")


def told_progress(run: VerificationRun) -> str:
    """Describes its progress: ``Reading the stream: 2,000 of 5,000 messages``."""
    if not run.phase:
        return str(State(run.state).label)
    known = {"done": number(run.done), "total": number(run.total)}
    if run.phase == "folding":
        return _("Reading the stream: %(done)s of %(total)s messages") % known
    return _("Comparing the rows: %(done)s of %(total)s") % known


def _percent(run: VerificationRun) -> float:
    return 100 * run.done / run.total if run.total else 0.0


def _waits(run: VerificationRun) -> bool:
    return run.state == State.ASKED and database_now(run.using) - run.intent.created_at > PATIENCE


def _examples(request: HttpRequest, stream: Stream, run: VerificationRun) -> list[str]:
    """The differences, with the keys of entities whose rows the user may see."""
    examples = (run.result or {}).get("examples", [])
    by_type: dict[str, list[str]] = {}
    for _kind, entity_type, key in examples:
        by_type.setdefault(entity_type, []).append(key)

    insight = Insight(request.user, stream)
    readable = {name: insight.entities(name, keys) for name, keys in by_type.items()}
    hidden = _("(you do not see the row)")
    return [
        f"{kind}: {entity_type} {key if key in readable[entity_type] else hidden}"
        for kind, entity_type, key in examples
    ]
