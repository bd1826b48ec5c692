"""Helpers for tests of a live page in a browser."""

from __future__ import annotations

import subprocess
import sys

from tests.admin.support.site import CHECKOUT, Site

__all__ = ["FOLLOW", "allow", "shell", "url"]

FOLLOW = """async () => {
  const { follow } = await import("/static/durable_state/client.js");
  window.chat = follow("chat", { types: ["message"] });
  window.told = [];
  window.states = [];
  chat.on("change", ({ changes, initial }) => told.push([initial, ...changes.map(
    ({ operation, key, value, previous }) => [operation, key, value?.text, previous?.text])]));
  chat.on("status", ({ state }) => states.push(state));
  await chat.ready;
}"""
"""A page's script: follows the messages of "chat", and records what it receives."""


def url(site: Site, path: str) -> str:
    return site.url.replace("/admin/", path)


def shell(site: Site, code: str) -> None:
    """Runs Python in the site's project."""
    command = [sys.executable, "-m", "django", "shell", "-c", code]
    subprocess.run(command, cwd=CHECKOUT, env=site.environment, check=True, capture_output=True)


def allow(site: Site, allowed: bool) -> None:
    """Makes the visitor a superuser, or a user who may see nothing."""
    made = f"User.objects.update(is_superuser={allowed})"
    shell(site, f"from django.contrib.auth.models import User; {made}")
