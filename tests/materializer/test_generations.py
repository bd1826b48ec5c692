"""Staged entities: each once, in its newest state; and how they are removed."""

from __future__ import annotations

import pytest

from durable_state.consumer import sweep_dropped, tidy
from durable_state.databases import find_database
from durable_state.materializer.staged import generations
from durable_state.models import Generation, StagedChange, Stream
from durable_state.testing import apply
from tests.app.models import Author
from tests.tables import adds_up
from tests.wire import END, RESET, START, change


def authors(using: str) -> dict[str, int]:
    return dict(Author.objects.using(using).values_list("key", "commits"))


def test_the_newest_change_of_an_entity_is_staged(using: str, writer: str) -> None:
    """In one batch or in another; a deleted one is not counted."""
    apply(
        "h",
        [START, change("author", "a", commits=1), change("author", "b", commits=1)],
        using=using,
    )
    assert not Generation.objects.using(using).get().repeats
    apply(
        "h",
        [change("author", "c"), change("author", "d", "delete"), change("author", "b", "delete")],
        using=using,
    )
    assert not Generation.objects.using(using).get().repeats
    asks_first = not find_database(using).holds_unique_without_gaps
    apply("h", [change("author", "a", commits=2), change("author", "e", commits=1)], using=using)
    assert Generation.objects.using(using).get().repeats != asks_first
    apply("h", [change("author", "a", commits=3), change("author", "b", commits=4)], using=using)
    assert StagedChange.objects.using(using).count() == 4
    apply("h", [END], using=using)
    assert authors(using) == {"a": 3, "b": 4, "c": 0, "e": 1}
    assert not Generation.objects.using(using).exists()
    adds_up("h", using)


def test_a_reset_drops_the_open_snapshot(using: str, writer: str) -> None:
    """Its entities count as superseded, and the rows become what follows the reset."""
    apply("h", [START, change("author", "a"), change("author", "b")], using=using)
    apply("h", [RESET, change("author", "c", commits=1)], using=using)
    assert authors(using) == {"c": 1}
    assert not Generation.objects.using(using).exists()
    assert Stream.objects.using(using).get().superseded_count == 2
    adds_up("h", using)


def test_after_a_reset_the_old_rows_stay_until_an_open_snapshot_ends(
    using: str, writer: str
) -> None:
    """Even if something came between the two, and the stream reached its tail meanwhile."""
    apply("h", [change("author", "a"), change("author", "b")], using=using)
    apply("h", [RESET, change("author", "c"), START, change("author", "d")], using=using)
    assert authors(using) == {"a": 0, "b": 0}
    apply("h", [change("author", "e")], using=using)
    assert authors(using) == {"a": 0, "b": 0}
    apply("h", [END], using=using)
    assert authors(using) == {"d": 0, "e": 0}
    adds_up("h", using)


def test_a_large_generation_goes_in_steps(
    using: str, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switch deletes some of it, and the rest belongs to nobody: neither counted nor shown."""
    monkeypatch.setattr(generations, "STEP", 10)
    apply("h", [START, *(change("author", f"a{number}") for number in range(35)), END], using=using)
    assert len(authors(using)) == 35
    assert Generation.objects.using(using).get().purpose == "dropped"
    assert 0 < StagedChange.objects.using(using).count() <= 25
    assert Stream.objects.using(using).get().snapshot_id is None
    adds_up("h", using)
    apply("h", [START, *(change("author", f"a{number}") for number in range(3))], using=using)
    while sweep_dropped(using):
        pass
    assert Generation.objects.using(using).get().purpose == "snapshot"
    assert StagedChange.objects.using(using).count() == 3
    apply("h", [END], using=using)
    assert len(authors(using)) == 3
    adds_up("h", using)


def test_what_a_worker_left_is_tidied_up(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed between the switch and the deletion."""
    monkeypatch.setattr(generations, "STEP", 10)
    apply("h", [START, *(change("author", f"a{number}") for number in range(35)), END], using=using)
    tidy(using)
    assert not Generation.objects.using(using).exists()
    assert not StagedChange.objects.using(using).exists()
