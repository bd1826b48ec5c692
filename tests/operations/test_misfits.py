"""The most common mistakes are reported: types without a mapping, members that never come, no
row at all.
"""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext

from durable_state import EntityMapping, operations
from durable_state.models import Replay, Stream, TypeState
from durable_state.testing import apply
from tests.app import models
from tests.app.state_mappings import SettingMapping
from tests.mappings import map_only
from tests.wire import insert

pytestmark = pytest.mark.django_db


class TaskMapping(EntityMapping):
    """A correct mapping for the values of ``task``."""

    model = models.File
    key_field = "path"
    fields = {"blob": "title", "mode": "done"}


class MisspeltMapping(TaskMapping):
    fields = {"blob": "title", "mode": "isDone"}


class ForgetfulMapping(TaskMapping):
    def prepare(self, change: Any) -> Any:
        super().prepare(change)


class IncompleteMapping(TaskMapping):
    def prepare(self, change: Any) -> Any:
        return {"blob": change.value["title"]}


class ElsewhereMapping(TaskMapping):
    streams = ["chat-*"]


def tasks(count: int, entity_type: str = "task") -> list[dict[str, Any]]:
    """Changes of tasks."""
    value = {"title": "x", "done": "no", "assigneeId": "p1"}
    return [insert(entity_type, f"t{place}", value) for place in range(count)]


def report() -> operations.StreamReport:
    """Of the only stream."""
    return operations.report(Stream.objects.get())


ACCOUNT = "15 messages: 0 applied, 15 of types without a mapping (task 12, person 3)"


def test_a_misspelt_type_is_not_green() -> None:
    """Nothing is mapped: stuck, with every message accounted for and the name that was meant."""
    map_only(tasks=TaskMapping)
    apply("s", [*tasks(12), *tasks(3, "person")])
    found = report()
    assert (found.status, found.stuck) == ("unmapped", True)
    assert found.why.startswith(f"nothing of it is mapped: {ACCOUNT}")
    assert 'did you mean @register("task")? There is no "tasks" in the stream' in found.why
    assert f"{__name__}.TaskMapping" in found.why
    assert 'mapped so far: "tasks"' in found.action
    assert str(found.account) == ACCOUNT
    assert found.to_json()["unregistered"] == 15


def test_a_stream_without_any_mapping_is_not_green() -> None:
    """Nobody can guess what was meant, so the types that come are listed."""
    map_only()
    apply("s", [*tasks(12), *tasks(3, "person")])
    found = report()
    assert (found.status, found.stuck) == ("unmapped", True)
    assert found.why == f"nothing of it is mapped: {ACCOUNT}"
    assert "mapped so far: none" in found.action


def test_a_type_that_is_mapped_for_other_streams_is_told() -> None:
    """``streams`` leaves this one out."""
    map_only(task=ElsewhereMapping)
    apply("tasks", tasks(2))
    assert '"task" is registered for the streams chat-* only' in report().why


def test_what_is_mapped_makes_a_stream_green() -> None:
    """Other types may stay without a mapping; one whose name is nearly that of a type that never
    comes is reported.
    """
    map_only(task=TaskMapping)
    apply("s", [*tasks(3), *tasks(2, "person")])
    found = report()
    assert (found.status, found.stuck, found.why) == ("live", False, "")
    assert "2 of types without a mapping (person 2)" in str(found.account)

    map_only(task=TaskMapping, Persons=SettingMapping)
    found = report()
    assert (found.status, found.stuck) == ("live", False)
    assert found.why.startswith('did you mean @register("person")?')


def test_what_only_waits_for_more_is_not_judged() -> None:
    """Before the tail, the mapped types may still come; a stream without messages proves
    nothing.
    """
    map_only(tasks=TaskMapping)
    apply("s", [])
    assert report().status == "live"
    apply("s", tasks(2), up_to_date=False)
    assert report().status == "catching-up"


def test_a_type_that_came_before_its_mapping_needs_a_reset() -> None:
    """Once the name is corrected, only the reset is left to do."""
    map_only(tasks=TaskMapping)
    apply("s", tasks(12))
    map_only(task=TaskMapping)
    found = report()
    assert (found.status, found.action) == (
        "needs-reset",
        "manage.py durable_state reset s --type task",
    )
    assert "12 from before their type was mapped (task 12)" in str(found.account)


@pytest.mark.parametrize(("count", "told"), [(2, False), (3, True), (12, True), (60, True)])
def test_a_wrong_wire_name_is_told(count: int, told: bool) -> None:
    """Once several values were sampled, in one batch or in many; it is not an error."""
    map_only(task=MisspeltMapping)
    changes = tasks(count)
    apply("s", changes[:2])
    for each in changes[2:]:
        apply("s", [each])
    found = report()
    assert (found.status, found.stuck) == ("live", False)
    counted = min(count, 5)
    expected = f"`isDone` was in none of {counted} `task` values; seen: title, done, assigneeId"
    assert found.misfits == ([expected] if told else [])
    assert found.why == (expected if told else "")


def test_a_member_that_comes_late_ends_the_telling() -> None:
    """However many values were sampled before."""
    map_only(task=MisspeltMapping)
    for _ in range(10):
        apply("s", tasks(40))
    assert report().misfits
    apply("s", [insert("task", "t1", {"title": "x", "isDone": "yes"})])
    assert report().misfits == []


def test_a_member_that_was_seen_is_not_told_as_missing() -> None:
    """Even if only a refused value had it."""
    map_only(task=MisspeltMapping)
    refused = insert("task", "t9", {"title": 5, "isDone": "yes"})
    apply("s", [*tasks(4), refused])
    found = report()
    assert found.account.dead_letters == 1
    assert found.misfits == []


def test_a_member_that_is_only_optional_is_not_told() -> None:
    """If every member that comes is mapped, nothing was misspelt."""
    map_only(task=MisspeltMapping)
    apply("s", [insert("task", f"t{place}", {"title": "x"}) for place in range(5)])
    assert report().why == ""


def test_a_prepare_that_returns_nothing_is_told() -> None:
    """And the messages are named in the account."""
    map_only(task=ForgetfulMapping)
    apply("s", tasks(4))
    found = report()
    assert str(found.account) == "4 messages: 0 applied, 4 without a row (by prepare)"
    told = "prepare() gave no row for any of 4 `task` changes"
    assert found.misfits == [f"{told} (does it end with a return? {__name__}.ForgetfulMapping)"]
    assert found.to_json()["no_row"] == 4


def test_a_field_that_prepare_never_gives_is_told() -> None:
    """By the name of the model's field."""
    map_only(task=IncompleteMapping)
    apply("s", tasks(4))
    assert report().misfits == ["prepare() gave no `mode` for any of 4 `task` changes"]


def test_a_reset_looks_anew() -> None:
    """Findings about the old mapping are forgotten; faults of the new one are reported."""
    map_only(task=ForgetfulMapping)
    apply("s", tasks(4))
    stream = Stream.objects.get()
    map_only(task=MisspeltMapping)
    operations.reset(stream, actor="test")
    apply("s", tasks(4))
    assert not Replay.objects.exists()
    assert [each[:9] for each in report().misfits] == ["`isDone` "]
    map_only(task=TaskMapping)
    operations.reset(stream, actor="test")
    apply("s", tasks(4))
    assert (report().status, report().misfits) == ("live", [])


def test_a_snapshot_is_looked_at_too() -> None:
    """Its changes are staged first."""
    map_only(task=MisspeltMapping)
    start, end = ({"headers": {"control": f"snapshot-{what}"}} for what in ("start", "end"))
    apply("s", [start, *tasks(5), end])
    assert [each[:9] for each in report().misfits] == ["`isDone` "]
    assert str(report().account) == "7 messages: 5 applied, 2 controls"


def test_names_that_no_terminal_or_database_takes_are_left_out() -> None:
    """Reports are stored whatever they quote: a NUL, a lone surrogate, an endless name, a
    million names.
    """
    map_only(task=MisspeltMapping)
    odd = b'"\\u0000":1,"\\u001b[31m":2,"%s":3,"done":4' % (b"n" * 5000)
    many = ",".join(f'"k{place}":{place}' for place in range(5000)).encode()
    message = b'{"type":"task","key":"%d","value":{%s},"headers":{"operation":"insert"}}'
    apply("s", [message % (place, odd) for place in range(3)])
    apply("s", [message % (place, many) for place in range(3)])
    seen = TypeState.objects.get().sample["seen"]
    assert "done" in seen
    assert all(each.isprintable() and len(each) <= 60 for each in seen)
    assert len(seen) == 40


def test_a_busy_stream_is_not_slower_for_it() -> None:
    """Once enough was sampled, a commit takes as many statements as without sampling."""
    map_only(task=MisspeltMapping)

    def statements() -> int:
        with CaptureQueriesContext(connections["default"]) as queries:
            apply("s", tasks(1))
        return len([each for each in queries if "durable_state_typestate" in each["sql"]])

    apply("s", tasks(1))
    learning = statements()
    for _ in range(5):
        apply("s", tasks(40))
    assert statements() == learning - 1


def run(*words: str) -> str:
    """What the command printed."""
    out = io.StringIO()
    call_command("durable_state", *words, stdout=out)
    return out.getvalue()


def test_the_command_names_every_message() -> None:
    """In ``status``, where the row of a table would otherwise not add up; a stuck stream exits
    1.
    """
    map_only(task=TaskMapping)
    apply("s", [*tasks(3), *tasks(2, "person"), {"type": "task", "key": "broken"}])
    lines = run("status").splitlines()
    assert lines[0].split()[3:8] == ["MESSAGES", "APPLIED", "PARKED", "LETTERS", "OTHER"]
    assert lines[1].split()[-7:-2] == ["6", "3", "0", "1", "2"]
    assert lines[2].strip() == (
        "6 messages: 3 applied, 1 dead letter, 2 of types without a mapping (person 2)"
    )
    map_only()
    TypeState.objects.all().delete()
    Stream.objects.update(applied_count=0, unregistered_count=6, dead_letter_count=0)
    with pytest.raises(CommandError, match="nothing of it is mapped: 6 messages: 0 applied, 6 of"):
        run("status")
