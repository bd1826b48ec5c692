"""The one signal of this app."""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["changes_committed"]

changes_committed = Signal()
"""Sent after a commit, once per model, in the consuming process only.

``sender`` is the model; ``stream`` the stream's name, ``revision`` the commit's number,
``upserted`` and ``deleted`` lists of entity keys, or None when they were too many to list. A
receiver's exception is logged and stops nothing.
"""
