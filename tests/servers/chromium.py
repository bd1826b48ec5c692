"""Where the tests find a browser, and how they start it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["find_chromium", "launched"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    # Without connections of its own.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str:
    """Returns the path of a Chromium for playwright: DURABLE_STATE_CHROMIUM, or the first one on
    the PATH.

    Raises: LookupError.
    """
    given = os.environ.get("DURABLE_STATE_CHROMIUM")
    names = [given] if given else ["chromium", "chromium-browser", "google-chrome"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise LookupError(f"there is no {names[0]}; set DURABLE_STATE_CHROMIUM to its path")
    return found


@contextmanager
def launched(executable: str, *, keeps_pages: bool = False) -> Iterator[Browser]:
    """A headless browser, until the block ends.

    Use it in the thread that has started it. With ``keeps_pages`` it keeps pages for its back
    button, which playwright usually disables.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=ARGUMENTS,
            ignore_default_args=["--disable-back-forward-cache"] if keeps_pages else None,
        )
        yield browser
        browser.close()
