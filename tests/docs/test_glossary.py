"""Each word of the glossary is used, and defined once."""

from __future__ import annotations

import re
from pathlib import Path

import durable_state

from .support.pages import CHECKOUT

PAGE = (CHECKOUT / "docs" / "glossary.md").read_text()
CODE = "\n".join(
    path.read_text() for path in sorted(Path(durable_state.__file__).parent.rglob("*.py"))
)


def _words(text: str) -> list[str]:
    return re.findall(r"^\| \*([^*]+)\*", text, re.MULTILINE)


def test_each_word_is_told_once() -> None:
    """Two meanings would be two words."""
    words = _words(PAGE)
    assert len(words) == len(set(words)) > 60


def test_words_of_the_code_are_in_it() -> None:
    """In names or in texts: ``make_way``, ``ParkingLot``, "a stand-in"."""
    _, _, inside = PAGE.partition("## In the code")
    for word in _words(inside):
        spelled = re.sub(r"[ -]", "[ _-]?", word)
        assert re.search(spelled, CODE, re.IGNORECASE), word
