"""What a visitor's browser may send to the chat, however odd it is."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.repositories import ScratchRepository

from .support.demo import running

ODD = [
    b"[" * 100_000,
    b'{"do":' * 50_000,
    b"",
    b"\xff",
    b"9" * 10_000,
    b"null",
    b"[]",
    b'{"do": "say", "text": "\\ud800"}',
    b'{"do": "say", "text": ["nested", ["more"]]}',
    b'{"do": "react", "message": "\\ud800", "emoji": "\\ud83d\\udc4d", "on": true}',
]


def test_an_invalid_action_answers_400(tmp_path: Path) -> None:
    """Endless brackets, broken text and wrong shapes are refused with a sentence."""
    repository = ScratchRepository(tmp_path / "repository")
    repository.fill(2)
    with (
        running(tmp_path / "demo", f"--repository={repository.folder}") as demo,
        httpx.Client(base_url=demo.url(), follow_redirects=True, trust_env=False) as visitor,
    ):
        room = visitor.get("/chat/").url.path
        (token,) = visitor.cookies.values()
        headers = {"X-CSRFToken": token}
        assert visitor.post("/chat/name/", data={"name": "Ada"}, headers=headers).is_success
        for body in ODD:
            answer = visitor.post(f"{room}act/", content=body, headers=headers)
            assert answer.status_code == 400, (body[:40], answer.text[:200])
            assert answer.json()["error"]
        said = json.dumps({"do": "say", "text": "Hello"}).encode()
        assert visitor.post(f"{room}act/", content=said, headers=headers).status_code == 200
