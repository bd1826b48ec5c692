"""Example answers for the OpenAPI schema."""

from __future__ import annotations

from typing import Any

__all__ = ["ENTITY", "HEALTH", "LETTER", "PARKED", "STREAM"]

STREAM: dict[str, Any] = {
    "name": "a stream that is live",
    "value": {
        "name": "chat",
        "url": "https://streams.example.org/chat",
        "status": "live",
        "stuck": False,
        "why": "",
        "offset": "0000000000000000_0000000000004096",
        "ordinal": 1204,
        "revision": 97,
        "applied": 1201,
        "parked": 1,
        "dead_letters": 2,
        "no_row": 0,
        "unregistered": 0,
        "control": 0,
        "superseded": 0,
        "lag_seconds": 0.0,
        "since": "2026-11-27T10:00:00Z",
        "progress": None,
        "holder": "worker-1:4242:celery:8c1f",
        "last_error": "",
        "action": "",
    },
}

ENTITY: dict[str, Any] = {
    "name": "a message",
    "value": {
        "type": "message",
        "key": "m1",
        "value": {"userId": "ada", "text": "Hello", "sentAt": "2026-11-27T10:00:00Z"},
    },
}

LETTER: dict[str, Any] = {
    "name": "a text that is too long",
    "value": {
        "id": 7,
        "type": "message",
        "key": "m9",
        "ordinal": 1199,
        "reason": "too-long",
        "detail": "userId: 41 characters, and the column holds 40.",
        "message": '{"type":"message","key":"m9","headers":{"operation":"insert"}}',
        "created_at": "2026-11-27T10:00:00Z",
    },
}

PARKED: dict[str, Any] = {
    "name": "a message whose room is not there yet",
    "value": {
        "id": 3,
        "type": "message",
        "key": "m8",
        "ordinal": 1200,
        "reason": "parent",
        "stale": False,
        "detail": "room r7 is not shown.",
        "message": '{"type":"message","key":"m8","headers":{"operation":"insert"}}',
        "created_at": "2026-11-27T10:00:00Z",
    },
}

HEALTH: dict[str, Any] = {"name": "all is well", "value": {"status": "ok", "stuck": []}}
