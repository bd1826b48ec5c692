"""The pages are built as a site, in which every link works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .support.pages import CHECKOUT, pages


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as ``make docs`` builds it: a warning of Sphinx is an error."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--conf-dir", "docs"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ".", str(folder)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    """Each page has its own, the README is the first, and directives for the tests are not
    shown.
    """
    for page in pages():
        built = (site / page.relative_to(CHECKOUT)).with_suffix(".html").read_text()
        assert "<!-- file:" not in built, page
        assert "<!-- run" not in built, page
    assert (site / "index.html").read_text() == (site / "README.html").read_text()
    assert (site / "searchindex.js").stat().st_size > 10_000


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures come from the site itself."""
    for page in ("index.html", "docs/tutorial.html", "docs/architecture.html"):
        text = (site / page).read_text()
        fetched = re.findall(r"<(?:script|img|source)[^>]* src=\"([^\"]+)\"", text)
        fetched += re.findall(r"<link[^>]* href=\"([^\"]+)\"", text)
        assert fetched, page
        for url in fetched:
            assert "//" not in url, f"{page}: {url}"
            assert ((site / page).parent / url.split("?")[0]).exists(), f"{page}: {url}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()[ \"']*(https?:)?//", style.read_text()), style


def test_code_is_copied_by_a_click(site: Path) -> None:
    """The button's script is on each page with code."""
    assert "copybutton.js" in (site / "docs/tutorial.html").read_text()


def test_a_search_finds_pages_for_users_first(site: Path) -> None:
    """Decision records hold the same words, and come after them."""
    assert "var Scorer" in (site / "_static" / "language_data.js").read_text()
