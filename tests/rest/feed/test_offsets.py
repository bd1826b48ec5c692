"""Offsets as text: opaque, short, sorted in reading order, and read back unchanged."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_state.rest.feed.offset import NOW, START, Offset, Place

SIGNATURE = "0123456789abcdef"
places = st.none() | st.builds(Place, st.text(max_size=20), st.none() | st.text(max_size=50))
offsets = st.builds(
    Offset,
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**52),
    st.just(SIGNATURE),
    places,
    st.integers(0, 2**32 - 1),
    st.sampled_from(["", "ab" * 16]),
)


@given(offsets)
def test_an_offset_is_read_back(offset: Offset) -> None:
    """And needs no escaping in a URL."""
    text = str(offset)
    assert Offset.parse(text) == offset
    assert text.replace("_", "").replace("-", "").isalnum()
    assert text.isascii()
    assert text not in (START, NOW)


@given(offsets, offsets)
def test_offsets_are_ordered_as_they_are_read(one: Offset, other: Offset) -> None:
    """By revision; the pages of a snapshot before what follows it."""
    read = [(each.revision, each.place is None, each.number) for each in (one, other)]
    if read[0] < read[1]:
        assert str(one) < str(other)


@given(st.text(max_size=80) | offsets.map(lambda offset: str(offset)[:-1] + "!"))
def test_what_is_no_offset_is_none(text: str) -> None:
    """Whatever it is."""
    assert Offset.parse(text) is None


@pytest.mark.parametrize("rest", [b'["\xff"]', b'["",null,' + b"[" * 2500])
def test_a_rest_that_cannot_be_decoded_is_none(rest: bytes) -> None:
    """As any other offset that this app never made."""
    coded = base64.urlsafe_b64encode(rest).decode().rstrip("=")
    assert Offset.parse(f"{Offset(1, 2, SIGNATURE)}_{coded}") is None


def test_a_key_of_usual_length_makes_an_offset_of_usual_length() -> None:
    """The protocol asks for less than 256 characters."""
    place = Place("message", "0193b7e2-5c1d-7000-8000-000000000000")
    assert len(str(Offset(10**9, 1_700_000_000_000_000, SIGNATURE, place, 5, "ab" * 16))) < 256


@pytest.mark.parametrize("key", ["k" * 3072, "\u20ac" * 1024, "\x01" * 700])
def test_an_offset_holds_the_longest_keys(key: str) -> None:
    """As long as an index of PostgreSQL or MariaDB takes them."""
    offset = Offset(1, 2, SIGNATURE, Place("message", key), 5, "ab" * 16)
    assert Offset.parse(str(offset)) == offset


@given(st.text(min_size=1).filter(lambda text: len(text) != 32))
def test_what_is_held_has_a_name_of_ours(held: str) -> None:
    """Databases refuse to search for others, for instance one with a NUL."""
    assert Offset.parse(str(Offset(1, 2, SIGNATURE, None, 0, held))) is None
