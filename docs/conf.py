"""How ``make docs`` builds the pages as a site: README, docs/ and the other pages of the checkout.

The source folder is the checkout, so that links between pages are the same here and on GitHub.
Why: decision 75.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

import durable_state

CHECKOUT = Path(__file__).resolve().parent.parent

project = "Durable State for Django"
author = "the contributors to Durable State for Django"
project_copyright = "%Y, " + author
release = version = durable_state.__version__

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
root_doc = "README"
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = [".*", "node_modules", "build", "dist", "tests", "bench", "durable_state"]
exclude_patterns += ["example_project", "scripts", "screenshots"]
myst_enable_extensions = ["alert"]
myst_heading_anchors = 4  # those that GitHub makes

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_static_path = ["site"]
html_css_files = ["site.css"]
html_search_scorer = str(CHECKOUT / "docs" / "site" / "search.js")
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"  # of a session in a terminal, only what is typed

NAVIGATION = {
    "Start here": "docs/tutorial docs/faq docs/comparison",
    "Your models": """
        docs/how-to/prepare docs/how-to/many-streams docs/how-to/adopt docs/how-to/write
        docs/how-to/testing
    """,
    "Your users": """
        docs/how-to/live-pages docs/how-to/stream-db docs/how-to/policy docs/how-to/admin
        docs/reference/live
    """,
    "In production": """
        docs/how-to/production docs/how-to/deploy docs/how-to/headers docs/how-to/monitoring
        docs/how-to/metrics docs/how-to/runbook docs/how-to/reset docs/how-to/doorbells
        docs/how-to/*
    """,
    "Reference": """
        docs/reference/mappings docs/reference/conversion docs/reference/dead-letters
        docs/reference/settings docs/reference/commands docs/reference/models
        docs/reference/python docs/reference/checks docs/reference/*
    """,
    "Background": "docs/architecture docs/glossary docs/performance docs/decisions/README",
    "The project": "CHANGELOG CONTRIBUTING SECURITY",
}
"""In the order in which a newcomer needs them. A star takes the pages not named before."""


def _toctree(pages: list[str], caption: str = "") -> str:
    options = [":hidden:", ":titlesonly:", ":glob:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "", "```{toctree}", *options, "", *pages, "```"])


def _prepare(_app: Sphinx, page: str, source: list[str]) -> None:
    """Adds the navigation; takes out what steers the tests, and links to folders."""
    text = re.sub(r"(?m)^ *<!--.*?-->\n", "", source[0])
    folder = (CHECKOUT / page).parent
    text = re.sub(
        r"\[([^\]]+)\]\(([^)#:]+)\)",
        lambda link: link[1] if (folder / link[2]).is_dir() else link[0],
        text,
    )
    if page == root_doc:
        named = set(" ".join(NAVIGATION.values()).split())
        for caption, pages in NAVIGATION.items():
            section = [found for each in pages.split() for found in _found(each, named)]
            text += _toctree(section, caption)
    if page == "docs/decisions/README":
        text += _toctree(["0*"])
    source[0] = text


def _found(page: str, named: set[str]) -> list[str]:
    if not page.endswith("*"):
        return [page]
    found = sorted(CHECKOUT.glob(page + ".md"))
    names = [str(path.relative_to(CHECKOUT).with_suffix("")) for path in found]
    return [name for name in names if name not in named]


def _add_index(app: Sphinx, failure: Exception | None) -> None:
    if failure is None:
        shutil.copyfile(app.outdir / "README.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _prepare)
    app.connect("build-finished", _add_index)
