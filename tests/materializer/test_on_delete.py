"""What becomes of the rows that point to a deleted row, for each ``on_delete``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models

from durable_state.materializer.shown import removal
from durable_state.models import DeadLetter, FeedEntry, ParkedChange, Stream
from durable_state.testing import apply
from tests.app.models import Annotation, Author, Clipping, Employee, Folder, Page, Player, Team
from tests.tables import adds_up
from tests.wire import change

pytestmark = [pytest.mark.usefixtures("writer")]


def _other(using: str) -> Callable[[], Author]:
    return lambda: Author.objects.using(using).get(key="b")


KINDS: dict[str, Any] = {
    "CASCADE": models.CASCADE,
    "PROTECT": models.PROTECT,
    "RESTRICT": models.RESTRICT,
    "SET_NULL": models.SET_NULL,
    "SET_DEFAULT": models.SET_DEFAULT,
    "SET": None,
    "DO_NOTHING": models.DO_NOTHING,
}


def set_kind(
    monkeypatch: pytest.MonkeyPatch, model: type[models.Model], name: str, kind: str, using: str
) -> None:
    """Gives the foreign key another ``on_delete``; the database's constraint is the same for
    all.
    """
    on_delete = models.SET(_other(using)) if kind == "SET" else KINDS[kind]
    monkeypatch.setattr(model._meta.get_field(name).remote_field, "on_delete", on_delete)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_the_application(using: str, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """They follow the model; if it says that the parent must stay, the delete is refused."""
    set_kind(monkeypatch, Annotation, "author", kind, using)
    apply("h", [change("author", key) for key in "abc"], using=using)
    for author in Author.objects.using(using).filter(key__in="ab"):
        Annotation.objects.using(using).create(author=author)
    done = apply(
        "h", [change("author", "a", "delete"), change("author", "c", "delete")], using=using
    )
    left = sorted(Annotation.objects.using(using).values_list("author__key", flat=True), key=str)
    authors = sorted(Author.objects.using(using).values_list("key", flat=True))
    if kind in ("PROTECT", "RESTRICT", "DO_NOTHING"):
        assert (left, authors, done.dead_letters) == (["a", "b"], ["a", "b"], 1)
        assert DeadLetter.objects.using(using).get().reason == "protected"
    else:
        expected = {"CASCADE": ["b"], "SET": ["b", "b"]}.get(kind, [None, "b"])
        assert (sorted(left, key=str), authors, done.dead_letters) == (
            sorted(expected, key=str),
            ["b"],
            0,
        )
    adds_up("h", using)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "SET_NULL"])
def test_rows_of_the_stream(using: str, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The stream decides about them, not the model: they wait, and come back with their parent."""
    set_kind(monkeypatch, Player, "team", kind, using)
    apply(
        "ring",
        [change("team", "t"), change("player", "p", team="t"), change("player", "q", team="t")],
        using=using,
    )
    assert apply("ring", [change("team", "t", "delete")], using=using) == (1, 0, 0)
    assert not Player.objects.using(using).exists()
    assert ParkedChange.objects.using(using).count() == 2
    apply("ring", [change("team", "t")], using=using)
    assert Player.objects.using(using).filter(team__key="t").count() == 2
    assert not ParkedChange.objects.using(using).exists()


def test_rows_of_the_stream_with_an_open_place(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SET_NULL: they keep their primary keys, and are linked again."""
    set_kind(monkeypatch, Team, "captain", "SET_NULL", using)
    apply(
        "ring",
        [change("team", "t", captain="p"), change("team", "u"), change("player", "p", team="u")],
        using=using,
    )
    before = Team.objects.using(using).get(key="t").pk
    apply("ring", [change("player", "p", "delete")], using=using)
    team = Team.objects.using(using).get(key="t")
    assert (team.pk, team.captain_id) == (before, None)
    apply("ring", [change("player", "p", team="t")], using=using)
    team = Team.objects.using(using).get(key="t")
    assert team.captain is not None
    assert (team.pk, team.captain.key) == (before, "p")


def test_a_child_that_can_do_without_its_parent_is_always_shown(using: str) -> None:
    """SET_NULL: whatever became of the parent, and in whatever batches."""
    child, gone = change("employee", "c", boss="z"), change("employee", "z", "delete")
    there = change("employee", "z")
    for messages in ([child], [child, gone], [gone, child], [there, child, gone]):
        for batches in ([messages], [[message] for message in messages]):
            for batch in batches:
                apply("office", batch, using=using)
            assert Employee.objects.using(using).get().boss_id is None
            assert ParkedChange.objects.using(using).get().is_link
            apply("office", [there], using=using)
            assert employee_boss(using) == "z"
            assert not ParkedChange.objects.using(using).exists()
            Employee.objects.using(using).all().delete()
            Stream.objects.using(using).all().delete()


def employee_boss(using: str) -> str | None:
    boss = Employee.objects.using(using).select_related("boss").get(key="c").boss
    return None if boss is None else boss.key


def test_rows_of_another_stream_keep_their_parent(using: str) -> None:
    """Whatever ``on_delete`` says: nothing that one stream deletes takes another's rows."""
    apply("ring", [change("folder", "f", parent="f")], using=using)
    apply("wire", [change("author", "a")], using=using)
    apply("press-1", [change("clipping", "c", folder="f", author="a")], using=using)
    apply("wire", [change("author", "a", "delete")], using=using)
    letter = DeadLetter.objects.using(using).get()
    assert (letter.reason, letter.key) == ("protected", "a")
    assert "of another stream" in letter.detail
    assert Clipping.objects.using(using).get(author__key="a").key == "c"
    adds_up("wire", using)


def test_many_children_go_page_by_page(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, they are parked a few at a time; the feed names each, or says that
    there were too many.
    """
    monkeypatch.setattr(removal, "PAGE", 3)
    apply(
        "ring",
        [change("team", "t"), *(change("player", str(n), team="t") for n in range(10))],
        using=using,
    )
    apply("ring", [change("folder", str(n), parent=str(n // 2)) for n in range(10)], using=using)
    apply("ring", [change("team", "t", "delete"), change("folder", "0", "delete")], using=using)
    assert not Player.objects.using(using).exists()
    assert not Folder.objects.using(using).exists()
    assert ParkedChange.objects.using(using).count() == 19
    entry = FeedEntry.objects.using(using).order_by("revision").last()
    assert entry is not None
    assert bytes(entry.changes).count(b'"delete"') == 21


def test_a_child_that_moves_on_keeps_its_row(using: str) -> None:
    """Its old parent is deleted in the same batch; both have unique values."""
    messages = [
        change("employee", "old", email="o"),
        change("employee", "new"),
        change("employee", "c", boss="old"),
    ]
    apply("office", messages, using=using)
    before = Employee.objects.using(using).get(key="c").pk
    apply(
        "office",
        [change("employee", "c", boss="new"), change("employee", "old", "delete")],
        using=using,
    )
    row = Employee.objects.using(using).get(key="c")
    assert row.boss is not None
    assert (row.pk, row.boss.key) == (before, "new")


@pytest.mark.parametrize("apart", [True, False])
def test_half_of_a_swap_is_refused(using: str, apart: bool) -> None:
    """The other half is not to blame: it waits for the value, and gets it when it is free."""
    apply(
        "office",
        [change("employee", "a", email="x"), change("employee", "b", email="y")],
        using=using,
    )
    swap = [change("employee", "a", email="y"), change("employee", "b", email="x", grade=50)]
    for batch in [[each] for each in swap] if apart else [swap]:
        apply("office", batch, using=using)
    assert DeadLetter.objects.using(using).get().key == "b"
    assert ParkedChange.objects.using(using).get().key == "a"
    before = dict(Employee.objects.using(using).values_list("key", "pk"))
    assert ParkedChange.objects.using(using).get().stale
    assert dict(Employee.objects.using(using).values_list("key", "email")) == {"a": "x", "b": "y"}
    apply("office", [change("employee", "b", email="z")], using=using)
    assert dict(Employee.objects.using(using).values_list("key", "pk")) == before
    assert dict(Employee.objects.using(using).values_list("key", "email")) == {"a": "y", "b": "z"}
    assert not DeadLetter.objects.using(using).exists()
    adds_up("office", using)


@pytest.mark.parametrize("apart", [True, False])
def test_a_third_of_a_ring_of_values_is_refused(using: str, apart: bool) -> None:
    """The two others get as far as they can."""
    keys, values = "abc", "xyz"
    start = [change("page", key, slug=value) for key, value in zip(keys, values, strict=True)]
    apply("office", start, using=using)
    ring = [
        change("page", "a", slug="y"),
        change("page", "b", slug="z"),
        change("page", "c", slug="x", size=99),
    ]
    for batch in [[each] for each in ring] if apart else [ring]:
        apply("office", batch, using=using)
    assert dict(Page.objects.using(using).values_list("key", "slug")) == {"a": "y", "c": "z"}
    assert ParkedChange.objects.using(using).get().key == "b"
    assert DeadLetter.objects.using(using).get().key == "c"
