"""Draws the pictures of docs/architecture.md, or says which of them are outdated."""

from __future__ import annotations

import sys

from .picture import draw
from .rooms import CHECKOUT, read_house

HOUSE = {
    "apps": "wires Django",
    "urls": "paths of REST",
    "routing": "paths of websockets",
    "admin": "pages for people",
    "metrics": "for Prometheus",
    "rest": "read-only API",
    "webhook": "servers ring",
    "websocket": "live frames",
    "tasks": "Celery",
    "management": "commands",
    "pages": "live parts",
    "templatetags": "{% live %}",
    "operations": "verbs, audited",
    "policy": "who may see what",
    "sign_in": "who is still signed in",
    "users": "users as of now",
    "testing": "for your tests",
    "checks": "system checks",
    "consumer": "loops and commits",
    "transport": "HTTP",
    "materializer": "messages to rows",
    "feed": "the live log",
    "registry": "types to models",
    "models": "what is stored",
    "databases": "what each is like",
    "conversion": "values to columns",
    "conf": "settings",
    "signals": "after a commit",
    "telemetry": "counters and spans",
    "protocol": "the wire",
    "errors": "what goes wrong",
}
MATERIALIZER = {
    "fold": "where a change goes",
    "direct": "without the fold",
    "typebook": "which types pass",
    "staged": "snapshots, resets",
    "shown": "rows that readers see",
    "parked": "changes that wait",
    "letters": "what was refused",
    "rows": "reads and writes rows",
    "batch": "before a transaction",
    "changes": "what a commit did",
    "plan": "types of one stream",
    "compiled": "once per process",
    "ownership": "whose a table is",
    "prospects": "rows about to go",
}


CONSUMER = {
    "run": "one, all, or a slice",
    "seat_keeper": "once for all streams",
    "held_streams": "claimed, held, ended",
    "holder": "for one lease",
    "visit": "from ring to rest",
    "wake_listener": "hears wakes",
    "wakes": "who listens to which",
    "subscribing": "has servers ring",
    "doorbells": "when it is due",
    "claiming": "who wants a consumer",
    "looking": "what others did",
    "spread": "fair shares",
    "seating": "the table of seats",
    "process_names": "who lives",
    "recognizer": "still the same stream?",
    "live_target": "shown rows, kept",
    "replay_target": "a reset, beside them",
    "loop": "reads and commits",
    "recovery": "what goes wrong",
    "holding": "shared under a lease",
    "failures": "why it does not move",
    "migration_advice": "a table is missing",
    "seat": "shared by all streams",
    "replay": "begins, hands over",
    "type_replay": "of one type",
    "commits": "batch, release, letter",
    "watcher": "who looks on",
    "optimistic": "ordinary batches",
    "expectation": "left by the last one",
    "stream_facts": "asked at once",
    "committing": "every commit's frame",
    "columns": "what a commit writes",
    "cleanup": "what is deleted",
    "committed_signal": "after a commit",
    "lag": "since when behind",
    "samples": "what happened lately",
    "database_outage": "waiting for it",
    "expiry": "when dropped",
    "lease": "who may consume",
    "moment": "for verify",
    "reading_ahead": "the next batch",
    "readers": "settings and headers",
    "appending": "writes to a stream",
    "threads": "for the database",
    "request_headers": "the project's own",
    "project_calls": "code that may hang",
    "surroundings": "of its caller",
    "ending_flag": "asked to end",
    "open_files": "one for each stream",
    "error_text": "what an error says",
    "database_thread": "a thread with sessions",
    "hung_calls": "the call that hangs",
    "left_to_others": "streams for others",
}
PICTURES = {
    "rooms.svg": ("durable_state", "The rooms of durable_state", HOUSE),
    "consumer.svg": ("durable_state.consumer", "Inside the consumer", CONSUMER),
    "materializer.svg": ("durable_state.materializer", "Inside the materializer", MATERIALIZER),
}


def main() -> None:
    """Writes the pictures; with ``--check`` compares them with the existing ones."""
    for name, (package, title, does) in PICTURES.items():
        house = read_house(package)
        if wrong := does.keys() ^ {room for floor in house.floors for room in floor}:
            sys.exit(f"{__file__}: the rooms of {package} are others: {', '.join(sorted(wrong))}")

        path = CHECKOUT / "docs" / name
        picture = draw(house, title, does)
        if "--check" not in sys.argv[1:]:
            path.write_text(picture)
        elif not path.exists() or path.read_text() != picture:
            sys.exit(f"docs/{name} is not what the code imports; draw it: make picture")


if __name__ == "__main__":
    main()
