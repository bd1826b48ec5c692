"""A verification excuses entities that are rightly parked or refused, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from durable_state.materializer import Fold, prepare_batch
from durable_state.materializer.staged.difference import differences
from durable_state.models import DeadLetter, Generation, ParkedChange, Stream
from durable_state.protocol import decode
from durable_state.testing import apply
from tests.app.grove import Branch, Gauge, Guard, Leaf, Sign
from tests.app.models import Employee
from tests.wire import END, START, change, delete, encode

from .support.grove import branch, leaf


def compare(using: str, name: str, messages: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """(key, kind) of the rows that differ from the newly folded messages."""
    stream = Stream.objects.using(using).get(name=name)
    scratch = Generation.objects.using(using).create(
        stream=stream, purpose=Generation.Purpose.VERIFY
    )
    batch = prepare_batch(stream, [decode(encode(message)) for message in messages], 0)
    fold = Fold(stream, scratch, None)
    fold.apply(batch, up_to_date=False)
    assert fold.rebuild is not None
    found = {(each.key, each.kind) for each in differences(stream, fold.rebuild)}
    fold.forget_dropped()
    return found


def test_what_waits_for_a_reason_that_holds_is_excused(using: str) -> None:
    """A missing parent, a taken value, a letter of the newest change: the older row, or none."""
    messages = [
        branch("q"),
        leaf("c", "q", "x"),
        leaf("c", "p"),
        leaf("d", "q", "y"),
        leaf("e", "q", "y"),
        change("gauge", "k", level=3),
        change("gauge", "k", level=-3),
        change("sign", "a", email="one"),
        change("sign", "b", email="ONE"),
    ]
    for message in messages:
        apply("grove", [message], using=using)
    waiting = ParkedChange.objects.using(using).values_list("key", flat=True)
    assert sorted(waiting) == ["b", "c", "e"]
    assert compare(using, "grove", messages) == set()


@pytest.mark.parametrize("reason", ["parent", "unique"])
def test_what_waits_for_nothing_is_told(using: str, reason: str) -> None:
    """Its parent is shown and its value free: it should be shown, whatever the record says."""
    messages = [branch("q"), leaf("c", "q", "x")]
    apply("grove", messages, using=using)
    Leaf.objects.using(using).all().delete()
    ParkedChange.objects.using(using).create(
        stream=Stream.objects.using(using).get(),
        entity="x",
        type="leaf",
        key="c",
        ordinal=2,
        reason=reason,
        body=b"",
        prepared=b"{}",
    )
    assert compare(using, "grove", messages) == {("c", "missing")}


def test_a_child_that_can_do_without_its_parent_is_expected(using: str) -> None:
    """SET_NULL: hidden or linked to another, it is wrong."""
    messages = [change("employee", "c", boss="z"), change("employee", "d")]
    apply("office", messages, using=using)
    assert compare(using, "office", messages) == set()
    rows = Employee.objects.using(using)
    rows.filter(key="c").update(boss=rows.get(key="d").pk)
    assert compare(using, "office", messages) == {("c", "changed")}


def test_a_letter_excuses_no_other_row_than_the_one_before(using: str) -> None:
    """The row of the last accepted change, and none if there was no such change."""
    messages = [
        change("gauge", "k", level=7),
        change("gauge", "k", level=-7),
        change("gauge", "m", level=-1),
    ]
    apply("grove", messages, using=using)
    assert DeadLetter.objects.using(using).count() == 2
    assert compare(using, "grove", messages) == set()
    Gauge.objects.using(using).update(level=8)
    Gauge.objects.using(using).create(key="m", level=5)
    assert compare(using, "grove", messages) == {("k", "changed"), ("m", "extra")}
    Gauge.objects.using(using).all().delete()
    assert compare(using, "grove", messages) == {("k", "missing")}


def test_a_deleted_row_is_excused_while_something_protects_it(using: str) -> None:
    """The letter alone is not enough."""
    messages = [branch("q"), leaf("c", "q"), delete("leaf", "c")]
    apply("grove", messages[:2], using=using)
    guard = Guard.objects.using(using).create(leaf=Leaf.objects.using(using).get())
    apply("grove", messages[2:], using=using)
    assert compare(using, "grove", messages) == set()
    guard.delete()
    assert compare(using, "grove", messages) == {("c", "extra")}


def test_a_switch_leaves_nothing_to_tell(using: str) -> None:
    """After a snapshot with all of it, the rows are what a verification expects."""
    messages = [
        branch("q"),
        leaf("c", "q", "x"),
        START,
        branch("q"),
        leaf("c", "p", "x"),
        leaf("d", "q", "x"),
        change("gauge", "k", level=1),
        change("gauge", "k", level=-1),
        END,
    ]
    apply("grove", messages, using=using)
    assert compare(using, "grove", messages) == set()
    assert Branch.objects.using(using).count() == 1
    assert Leaf.objects.using(using).get().key == "d"
    assert not Sign.objects.using(using).exists()
