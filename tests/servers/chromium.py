"""Where the tests find a browser."""

from __future__ import annotations

import os
import shutil

__all__ = ["find_chromium"]


def find_chromium() -> str:
    """Returns the path of a Chromium for playwright:
    DURABLE_STATE_CHROMIUM, or the first one on the PATH.

    Raises: LookupError.
    """
    given = os.environ.get("DURABLE_STATE_CHROMIUM")
    names = [given] if given else ["chromium", "chromium-browser", "google-chrome"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise LookupError(f"there is no {names[0]}; set DURABLE_STATE_CHROMIUM to its path")
    return found
