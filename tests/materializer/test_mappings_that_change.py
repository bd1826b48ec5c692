"""Mappings and models that change between two commits: nothing blocks, and every shown row is
valid.
"""

from __future__ import annotations

from typing import Any

import pytest

from durable_state import operations
from durable_state.errors import MappingFault
from durable_state.models import DeadLetter, ParkedChange, TypeState
from durable_state.registry import registry
from durable_state.testing import apply
from tests.app.models import Author, Employee, Stock
from tests.app.state_mappings import AuthorMapping, EmployeeMapping, StockMapping
from tests.mappings import remap
from tests.tables import adds_up, replay
from tests.wire import END, RESET, START, change

from .support.plans import forget_compiled


def test_letters_of_a_type_without_a_mapping_go_with_a_replay(using: str) -> None:
    """Its messages then count as unregistered, not refused."""
    messages = [change("author", "a", commits="x"), change("quota", "q", inUse=1)]
    apply("office", messages, using=using)
    assert DeadLetter.objects.using(using).get().type == "author"
    remap("author", None)
    replay("office", using)
    apply("office", messages, using=using)
    assert not DeadLetter.objects.using(using).exists()
    adds_up("office", using)


def test_a_mapping_that_fails_for_changes_that_are_passed_over(using: str) -> None:
    """They wait for a reset, and nothing halts before."""

    def fail(self: Any, change: Any) -> Any:
        raise ZeroDivisionError

    with registry.isolated():
        remap("author", None)
        apply("office", [change("author", "x")], using=using)
    remap("author", AuthorMapping, prepare=fail)
    apply("office", [change("author", "y"), change("stock", "s", code="a")], using=using)
    assert (
        TypeState.objects.using(using).get(type="author").unregistered,
        Stock.objects.using(using).count(),
    ) == (
        2,
        1,
    )
    with pytest.raises(MappingFault):
        apply("office", [RESET, change("author", "y")], using=using)


def test_a_replay_makes_a_type_whole_whose_rows_ended_up_empty(using: str) -> None:
    """Registered late, folded from the start, with no rows left: the next change is shown, and
    no reset is needed.
    """
    messages = [change("author", "x"), change("author", "x", "delete")]
    with registry.isolated():
        remap("author", None)
        apply("h", messages, using=using)
    apply("h", [change("author", "x", "delete")], using=using)
    assert TypeState.objects.using(using).get(type="author").needs_reset
    replay("h", using)
    apply("h", [*messages, messages[1]], using=using)
    apply("h", [change("author", "y")], using=using)
    assert [author.key for author in Author.objects.using(using).all()] == ["y"]
    assert not TypeState.objects.using(using).get(type="author").needs_reset


def test_a_mapping_that_changes_while_a_rebuild_is_folded(using: str) -> None:
    """Rows of the old mapping need a reset."""
    apply(
        "office", [RESET, change("stock", "x", amount=1, reserved=2)], using=using, up_to_date=False
    )
    remap("stock", StockMapping, fields=["amount"])
    apply("office", [], using=using)
    assert TypeState.objects.using(using).get(type="stock").needs_reset


def test_a_column_that_shrinks_while_a_rebuild_is_folded(
    using: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that was accepted before is refused at the switch like any other, and the stream
    continues.
    """
    messages: list[dict[str, Any]] = [
        change("stock", "x", code="abc"),
        change("stock", "y", code="de"),
    ]
    apply("office", [RESET, *messages], using=using, up_to_date=False)
    monkeypatch.setattr(Stock._meta.get_field("code"), "max_length", 2)
    forget_compiled()
    try:
        apply("office", [], using=using)
    finally:
        forget_compiled()
    assert [row.key for row in Stock.objects.using(using).all()] == ["y"]
    assert DeadLetter.objects.using(using).get().key == "x"
    adds_up("office", using)


def test_a_parked_change_of_a_field_that_is_mapped_no_longer(using: str) -> None:
    """Neither the next commit nor a replay is affected."""
    messages = [change("employee", "a", email="x"), change("employee", "b", email="x", name="n")]
    freed = change("employee", "a", "update", email="y")
    apply("office", messages, using=using)
    assert ParkedChange.objects.using(using).get().key == "b"
    remap("employee", EmployeeMapping, fields=["email", "boss"])
    apply("office", [freed], using=using)
    assert dict(Employee.objects.using(using).values_list("key", "email")) == {"a": "y", "b": "x"}
    replay("office", using)
    apply("office", [*messages, freed], using=using)
    assert dict(Employee.objects.using(using).values_list("key", "email")) == {"a": "y", "b": "x"}
    assert not ParkedChange.objects.using(using).exists()


def test_a_letter_is_accepted_by_a_mended_mapping(using: str) -> None:
    """A retry uses the current mapping, which may take the value from elsewhere."""
    apply("h", [change("author", "a", commits="oops", total=5)], using=using)
    remap("author", AuthorMapping, fields={"commits": "total"})
    assert operations.retry(DeadLetter.objects.using(using).get(), actor="test")
    assert Author.objects.using(using).get().commits == 5
    assert not DeadLetter.objects.using(using).exists()


@pytest.mark.parametrize("cut", [[RESET], [START, END], [RESET, START, END]])
@pytest.mark.parametrize("replayed", [True, False])
def test_a_type_registered_late_of_which_the_stream_holds_nothing_any_more(
    using: str, cut: list[dict[str, Any]], *, replayed: bool
) -> None:
    """No message of it was skipped that counts, whether a replay or the stream itself gets
    there; its next change is shown.
    """
    messages = [change("author", "x"), change("author", "y")]
    with registry.isolated():
        remap("author", None)
        apply("h", messages, using=using)
    late = change("author", "late")
    apply("h", [late, *cut] if replayed else [late], using=using)
    state = TypeState.objects.using(using).get(type="author")
    if replayed:
        replay("h", using)
    else:
        assert operations.needs_reset(state, "h")
    apply("h", [*messages, late, *cut] if replayed else cut, using=using)
    state.refresh_from_db(using=using)
    assert (operations.needs_reset(state, "h"), state.unregistered) == (False, 0)
    apply("h", [change("author", "z")], using=using)
    assert [author.key for author in Author.objects.using(using).all()] == ["z"]
    adds_up("h", using)


def test_what_comes_without_a_mapping_behind_a_reset_still_asks_for_one(using: str) -> None:
    """Only messages that the stream has forgotten are forgiven."""
    with registry.isolated():
        remap("author", None)
        apply("h", [change("author", "x"), RESET, change("author", "y")], using=using)
        replay("h", using)
        apply("h", [change("author", "x"), RESET, change("author", "y")], using=using)
    state = TypeState.objects.using(using).get(type="author")
    assert operations.needs_reset(state, "h")
