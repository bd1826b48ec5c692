"""Errors that a field's code raises for a value, even a library's, concern only that row."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connections, models
from django.db.models import signals
from django.db.models.functions import Now
from django.test.utils import isolate_apps

from durable_state import EntityMapping
from durable_state.conversion import Refused, converter
from durable_state.models import DeadLetter
from durable_state.testing import apply
from tests.app.fields import LoweredField
from tests.app.models import AllFields, Author, Commit
from tests.mappings import remap
from tests.wire import END, START, change

from .support.columns import FIELDS
from .support.plans import plan_for, put

pytestmark = [
    pytest.mark.usefixtures("writer"),
    pytest.mark.django_db(transaction=True, databases=["default", "postgres", "mysql"]),
]

Add = Callable[..., Any]


@contextmanager
def mapped(alias: str, **columns: Any) -> Iterator[Any]:
    """A model with these columns and a key, its table, and its mapping to the type "odd"."""
    with isolate_apps("tests.app"):
        meta = type("Meta", (), {"app_label": "app"})
        body = {"key": models.CharField(max_length=40, unique=True), **columns}
        model_ = type("Odd", (models.Model,), {"__module__": __name__, "Meta": meta, **body})

        class OddMapping(EntityMapping):
            model = model_
            key_field = "key"
            fields = list(columns)

        remap("odd", OddMapping)
        with connections[alias].schema_editor() as editor:
            editor.create_model(model_)
        try:
            yield model_
        finally:
            with connections[alias].schema_editor() as editor:
                editor.delete_model(model_)


class Vector:
    """Like numpy's arrays: it does not say whether it equals another, and has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, numbers: list[float]) -> None:
        self.numbers = numbers

    def __eq__(self, other: object) -> Any:
        class Both:
            def __bool__(self) -> bool:
                raise ValueError("The truth value of an array is ambiguous.")

        return Both()

    def __ne__(self, other: object) -> Any:
        return self == other


class VectorField(models.TextField):
    """Like pgvector's."""

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Vector) else Vector(value)

    def from_db_value(self, value: Any, *rest: Any) -> Any:
        return None if value is None else Vector(json.loads(value))

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else json.dumps(value.numbers)


def test_values_that_do_not_say_whether_they_are_equal(database: str) -> None:
    """They are written once, and again if they differ."""
    with mapped(database, vector=VectorField()) as model:
        one, other = change("odd", "a", vector=[1.5, 2]), change("odd", "a", vector=[2])
        assert apply("h", [one], using=database) == (1, 0, 0)
        with connections[database].execute_wrapper(_writes_no_row):
            assert apply("h", [one], using=database) == (1, 0, 0)
        assert apply("h", [other], using=database) == (1, 0, 0)
        assert apply("h", [START, other, change("odd", "b", vector=[3]), END], using=database)
        vectors = {row.key: row.vector.numbers for row in model.objects.using(database)}
        assert vectors == {"a": [2], "b": [3]}


def _writes_no_row(execute: Any, sql: str, *rest: Any) -> Any:
    assert "app_odd" not in sql or sql.lstrip().startswith("SELECT"), sql
    return execute(sql, *rest)


def test_an_array_of_documents() -> None:
    """With null in it, which is JSON's, and is written once."""
    field = ArrayField(models.JSONField(), null=True)
    with mapped("postgres", documents=field) as model:
        values: list[Any] = [[None, 1, {"a": None}], [], None, [[1], "x"]]
        messages = [change("odd", f"k{n}", documents=value) for n, value in enumerate(values)]
        assert apply("h", messages, using="postgres") == (4, 0, 0)
        found = dict(model.objects.using("postgres").values_list("key", "documents"))
        assert found == {f"k{n}": value for n, value in enumerate(values)}
        with connections["postgres"].execute_wrapper(_writes_no_row):
            assert apply("h", messages, using="postgres") == (4, 0, 0)
        with connections["postgres"].cursor() as cursor:
            cursor.execute(
                "SELECT array_to_string(documents, ';', 'NULL') FROM app_odd ORDER BY key LIMIT 1"
            )
            assert cursor.fetchone() == ('null;1;{"a": null}',)  # fmt: skip


class PickyField(models.CharField):
    """Refuses a value when it is used in a query, or saved."""

    def get_prep_value(self, value: Any) -> Any:
        if value == "bad":
            raise LookupError("no such colour")
        return super().get_prep_value(value)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("staged", [False, True], ids=["shown", "staged"])
def test_a_field_that_refuses_a_value_late(database: str, unique: bool, staged: bool) -> None:
    """Even when others are searched for that have the value."""
    with mapped(database, colour=PickyField(max_length=9, unique=unique)) as model:
        messages = [change("odd", each, colour=each) for each in ("red", "bad", "blue")]
        outcome = apply("h", [START, *messages, END] if staged else messages, using=database)
        assert (outcome.applied, outcome.dead_letters) == (2, 1)
        keys = model.objects.using(database).values_list("key", flat=True)
        assert set(keys) == {"red", "blue"}
        letter = DeadLetter.objects.using(database).get()
        assert letter.key == "bad"
        assert "LookupError: no such colour" in letter.detail


def test_a_default_that_is_an_expression(database: str) -> None:
    """Rows that leave it out are written; the database's value is shown."""
    columns = {
        "label": models.CharField(max_length=9),
        "at": models.DateTimeField(db_default=Now()),
    }
    with mapped(database, **columns) as model:
        assert apply("h", [change("odd", "a", label="x")], using=database) == (1, 0, 0)
        assert model.objects.using(database).get().at is not None


def test_a_text_that_is_too_long_for_its_index() -> None:
    """PostgreSQL calls it an operational error, like a lost connection."""
    with mapped("postgres", text=models.TextField(db_index=True)) as model:
        long = secrets.token_hex(4500)
        messages = [change("odd", "bad", text=long), change("odd", "good", text="x" * 9000)]
        for staged in (False, True):
            batch = [START, *messages, END] if staged else messages
            outcome = apply("h", batch, using="postgres")
            assert (outcome.applied, outcome.dead_letters) == (1, 1)
            assert model.objects.using("postgres").get().key == "good"
            letter = DeadLetter.objects.using("postgres").get()
            assert (letter.key, letter.reason) == ("bad", "data")
            assert "index row" in letter.detail


ODD_VALUES: list[Any] = [
    *(10**5000, -(10**5000), 2**63, -(2**63) - 1, 1e308, -0.0, 5e-324, 10**400, "9" * 5000),
    *("NaN", "Infinity", "-Infinity", "1e400", "1e-400", "\ud800", "\0", "\x80\xff", "", " "),
    *([], {}, [[]], {"": None}, [None], True, "0" * 5000, "1_000", "٣", "²", "0x10", "9999-12-31"),
    *("24:00", "2024-02-30", "P1Y", "-1 00:00", "infinity", "{}", "\\x00", "a\\", "'; --", "%s"),
    *("10000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2024-01-01T00:00:60Z", "::1", "1.2.3"),
]


def test_odd_values_for_every_field(using: str) -> None:
    """Whatever comes, it is applied or refused: nothing else is raised, no other row is
    affected.
    """
    for field in FIELDS:
        plan = plan_for(using, AllFields, "id", field.name)
        accepted: dict[Any, dict[str, Any]] = {}
        for number, raw in enumerate(ODD_VALUES, 1):
            with suppress(Refused):
                accepted[number] = {field.attname: converter(field, using)(raw)}
        assert isinstance(put(plan, accepted), list)


def test_an_image_whose_file_is_elsewhere(database: str) -> None:
    """Its model looks for it whenever an object is made: rows are still written and deleted."""
    columns = {"picture": models.FileField(max_length=40), "label": LoweredField(max_length=9)}
    with mapped(database, **columns) as model:

        def look(instance: Any, **kwargs: Any) -> None:
            if instance.picture:
                raise FileNotFoundError(instance.picture.name)

        signals.post_init.connect(look, sender=model)
        try:
            first = [change("odd", n, picture=f"{n}.png", label="X") for n in ("a", "b", "c")]
            assert apply("h", first, using=database) == (3, 0, 0)
            gone = {"type": "odd", "key": "b", "headers": {"operation": "delete"}}
            second = change("odd", "a", picture="z.png", label="Y")
            assert apply("h", [second, gone], using=database) == (2, 0, 0)
            third = change("odd", "c", picture="c.png", label="Z")
            assert apply("h", [START, third, END], using=database).dead_letters == 0
            rows = model.objects.using(database).values_list("key", "picture", "label")
            assert list(rows) == [("c", "c.png", "z")]
        finally:
            signals.post_init.disconnect(look, sender=model)


def test_a_unique_document(database: str) -> None:
    """Two rows with their own documents, a swap, and one whose document is taken."""
    if database == "mysql":
        field: Any = models.JSONField(null=True)  # MySQL has no unique index of documents
    else:
        field = models.JSONField(null=True, unique=True)
    with mapped(database, document=field) as model:
        values: list[Any] = [{"a": [1]}, [1, {"b": None}], None, "text", 5]
        messages = [change("odd", f"k{n}", document=value) for n, value in enumerate(values)]
        assert apply("h", messages, using=database) == (5, 0, 0)
        assert apply("h", messages, using=database) == (5, 0, 0)
        found = dict(model.objects.using(database).values_list("key", "document"))
        assert found == {f"k{n}": value for n, value in enumerate(values)}
        again = change("odd", "again", document={"a": [1]})
        outcome = apply("h", [again, change("odd", "new", document={"a": [2]})], using=database)
        assert outcome.applied == (2 if database == "mysql" else 1)
        assert sum(outcome) == 2


def test_children_whose_code_looks_for_files(using: str) -> None:
    """They go with their parent and come back with it."""

    def look(instance: Any, **kwargs: Any) -> None:
        if instance.subject == "elsewhere":
            raise FileNotFoundError("elsewhere.png")

    signals.post_init.connect(look, sender=Commit)
    try:
        moment = "2024-01-01T00:00:00Z"
        child = change("commit", "c", author="a", subject="elsewhere", authored_at=moment)
        parent = change("author", "a", commits=1)
        assert apply("h", [parent, child], using=using) == (2, 0, 0)
        gone = {"type": "author", "key": "a", "headers": {"operation": "delete"}}
        assert apply("h", [gone], using=using).dead_letters == 0
        assert not Commit.objects.using(using).values_list("pk").exists()
        apply("h", [parent], using=using)
        subjects = Commit.objects.using(using).values_list("subject", "author__key")
        assert list(subjects) == [("elsewhere", "a")]
    finally:
        signals.post_init.disconnect(look, sender=Commit)


def test_a_child_that_its_field_cannot_read(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say what would have to be parked, so its parent stays, with a letter."""
    moment = "2024-01-01T00:00:00Z"
    for key in ("a", "b"):
        subject = "bad" if key == "a" else "good"
        child = change("commit", key, author=key, subject=subject, authored_at=moment)
        apply("h", [change("author", key, commits=1), child], using=using)

    def from_db_value(self: Any, value: Any, *rest: Any) -> Any:
        if value == "bad":
            raise LookupError("no such key")
        return value

    monkeypatch.setattr(models.TextField, "from_db_value", from_db_value, raising=False)
    gone = [
        {"type": "author", "key": key, "headers": {"operation": "delete"}} for key in ("a", "b")
    ]
    assert apply("h", gone, using=using).dead_letters == 1
    letter = DeadLetter.objects.using(using).get()
    assert (letter.key, letter.reason) == ("a", "protected")
    assert "LookupError" in letter.detail
    authors = Author.objects.using(using).values_list("key", flat=True)
    assert list(authors) == ["a"]
