"""The rules of conversion, one by one."""

from __future__ import annotations

import datetime
import enum
import pickle
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st

from durable_state.conversion import (
    JSON_NULL,
    Refused,
    convert,
    convert_key,
    converter,
    key_text,
    parent_key_converter,
    read_number,
    same,
)
from tests.app.models import AllFields, Author, Commit, Setting
from tests.names import name_value

UTC = datetime.UTC


def field(name: str, model: type[models.Model] = AllFields) -> models.Field[Any, Any]:
    """A column of AllFields, or of another model."""
    found = model._meta.get_field(name)
    assert isinstance(found, models.Field)
    return found


def refusal(name: str, raw: Any) -> str:
    """The code with which a column of AllFields refuses a value."""
    with pytest.raises(Refused) as caught:
        convert(field(name), raw)
    return caught.value.code


class Color(enum.Enum):
    """Enum members count as their value."""

    RED = "red"
    ONE = 1


ACCEPTED: list[tuple[str, Any, Any]] = [
    ("integer", 42, 42),
    ("integer", 3.0, 3),
    ("integer", Decimal("3.0"), 3),
    ("integer", "-7", -7),
    ("integer", "0", 0),
    ("integer", Color.ONE, 1),
    ("boolean", True, True),
    ("floating", 1, 1.0),
    ("floating", 2**53, 2.0**53),
    ("floating", Decimal("0.1"), 0.1),
    ("money", 1.1, Decimal("1.10")),
    ("money", "1.10", Decimal("1.10")),
    ("money", "1.1000", Decimal("1.10")),
    ("money", "1e1", Decimal("10.00")),
    ("precise", "1e-8", Decimal("0.0000000100")),
    ("precise", "1.5E+3", Decimal("1500.0000000000")),
    ("money", -3, Decimal("-3.00")),
    ("money", "-0", Decimal("0.00")),
    ("char", "eight ok", "eight ok"),
    ("char", "😀" * 8, "😀" * 8),
    ("char", " ", " "),
    ("char", "", ""),
    ("char", Color.RED, "red"),
    ("upload", None, ""),
    ("moment", "2024-05-01T10:00:00+02:00", datetime.datetime(2024, 5, 1, 8, tzinfo=UTC)),
    (
        "moment",
        "2024-05-01T08:00:00.123456Z",
        datetime.datetime(2024, 5, 1, 8, 0, 0, 123456, tzinfo=UTC),
    ),
    (
        "moment",
        "2024-05-01T08:00:00.123456000Z",
        datetime.datetime(2024, 5, 1, 8, 0, 0, 123456, tzinfo=UTC),
    ),
    ("day", "2024-02-29", datetime.date(2024, 2, 29)),
    ("time", "23:59:59.5", datetime.time(23, 59, 59, 500000)),
    ("span", "P1DT2H", datetime.timedelta(days=1, hours=2)),
    ("span", "-PT0.000001S", datetime.timedelta(microseconds=-1)),
    ("span", "PT9223372036854.775807S", datetime.timedelta(microseconds=2**63 - 1)),
    (
        "span",
        "3 04:05:06.7",
        datetime.timedelta(days=3, hours=4, minutes=5, seconds=6, milliseconds=700),
    ),
    ("uuid", "A" * 32, uuid.UUID("a" * 32)),
    ("blob", "AAE=", b"\0\1"),
    ("blob", b"\0", b"\0"),
    ("address", "2001:DB8::1", "2001:db8::1"),
    ("address", "::ffff:1.2.3.4", "::ffff:1.2.3.4"),
    ("document", {"a": [1, Decimal("1.5"), None, True]}, {"a": [1, 1.5, None, True]}),
    ("document", Decimal(5), 5),
    ("document", 2**64 - 1, 2**64 - 1),
    ("document", 100000000000000000000, 10**20),
    ("document", None, JSON_NULL),
    ("required_document", None, JSON_NULL),
]


@pytest.mark.parametrize(("name", "raw", "value"), ACCEPTED, ids=lambda part: name_value(part)[:30])
def test_accepted(name: str, raw: Any, value: Any) -> None:
    """These values are accepted, with exactly this result."""
    converted = convert(field(name), raw)
    assert converted == value
    assert type(converted) is type(value)
    assert str(converted) == str(value)


REFUSED: list[tuple[str, Any, str]] = [
    ("integer", 1.7, "type"),
    ("integer", True, "type"),
    ("integer", "007", "type"),
    ("integer", "+1", "type"),
    ("integer", " 1", "type"),
    ("integer", "-0", "type"),
    ("integer", "1\n", "type"),
    ("integer", "١", "type"),
    ("integer", 2**31, "range"),
    ("integer", 1e300, "precision"),
    ("integer", Decimal("1e999999"), "precision"),
    ("small", Decimal("1e9"), "range"),
    ("integer", Decimal("sNaN"), "type"),
    ("big", 2.0**53, "precision"),
    ("integer", float("nan"), "type"),
    ("small", 32768, "range"),
    ("positive", -1, "range"),
    ("positive_small", 32768, "range"),
    ("positive_big", 2**63, "range"),
    ("id", 0, "range"),
    ("id", None, "null"),
    ("boolean", 1, "type"),
    ("boolean", "t", "type"),
    ("floating", "1.5", "type"),
    ("floating", True, "type"),
    ("floating", 2**53 + 1, "precision"),
    ("floating", float("inf"), "range"),
    ("floating", Decimal("1e400"), "range"),
    ("floating", 10**400, "range"),
    ("money", "1.005", "precision"),
    ("money", 10**10, "range"),
    ("money", "NaN", "type"),
    ("money", Decimal("NaN"), "range"),
    ("money", "01", "type"),
    ("money", False, "type"),
    ("precise", "1234567890.1234567", "precision"),
    ("char", "nine long", "too-long"),
    ("char", 5, "type"),
    ("char", "a\0", "nul"),
    ("text", "\ud800", "invalid"),
    ("moment", "2024-05-01T08:00:00.1234567Z", "precision"),
    ("moment", "0001-01-01T00:00:00+05:00", "range"),
    ("moment", "2024-02-30T00:00:00Z", "invalid"),
    ("moment", "yesterday", "invalid"),
    ("moment", "2024-05-01T08:00:00Z ", "invalid"),
    ("moment", 1714550400, "type"),
    ("day", "2024-05-01T00:00:00Z", "invalid"),
    ("day", datetime.datetime(2024, 5, 1, tzinfo=UTC), "type"),
    ("time", "10:00Z", "invalid"),
    ("time", 10, "type"),
    ("span", "P1Y", "invalid"),
    ("span", "P", "invalid"),
    ("span", "PT", "invalid"),
    ("span", "PT0.0000001S", "precision"),
    ("span", "PT9223372036854.775808S", "range"),
    ("span", 5, "type"),
    ("uuid", 5, "type"),
    ("uuid", "{" + "a" * 32 + "}", "invalid"),
    ("blob", "AAF=", "invalid"),
    ("blob", "A A E =", "invalid"),
    ("blob", 5, "type"),
    ("address", "1.2.3.4/8", "invalid"),
    ("address", "01.2.3.4", "invalid"),
    ("address", "fe80::1%eth0", "invalid"),
    ("document", {"a": ["\0"]}, "nul"),
    ("document", {"\0": 1}, "nul"),
    ("document", "\udfff", "invalid"),
    ("document", {1: 2}, "type"),
    ("document", {"a": object()}, "type"),
    ("document", float("inf"), "range"),
    ("document", 10**30 + 1, "precision"),
    ("document", 10**400, "range"),
    ("document", Decimal("9" * 500), "range"),
    ("uuid", "00000000-0000-8000-7000-000000000000", "range"),
]


@pytest.mark.parametrize(("name", "raw", "code"), REFUSED, ids=lambda part: name_value(part)[:30])
def test_refused(name: str, raw: Any, code: str) -> None:
    """These values are refused, with this reason code."""
    assert refusal(name, raw) == code


@pytest.mark.parametrize(
    ("name", "raw", "quoted"),
    [
        ("money", Decimal("1.005"), "1.005 has"),
        ("money", True, "true is"),
        ("integer", False, "false is"),
        ("uuid", [None, Decimal("1.5")], "[null, 1.5] is"),
    ],
)
def test_a_refusal_quotes_what_json_has(name: str, raw: Any, quoted: str) -> None:
    """Numbers and constants as they are in the message, not as Python writes them."""
    with pytest.raises(Refused) as refused:
        convert(field(name), raw)
    assert refused.value.detail.startswith(quoted)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.5", 0.5),
        ("1e2", 100.0),
        ("1e-400", Decimal("1e-400")),
        ("1.00000000000000000001", Decimal("1.00000000000000000001")),
        ("4503599627370497.5", Decimal("4503599627370497.5")),
        ("0.1000000000000000055511151231257827", 0.1),
        ("1e23", 1e23),
        ("-0.0", -0.0),
    ],
)
def test_a_fraction_that_a_double_loses_is_not_lost(text: str, found: Any) -> None:
    """It would turn values into integers that are not; a FloatField still gets its double."""
    number = read_number(text)
    assert (number, type(number)) == (found, type(found))
    assert convert(field("floating"), number) == float(text)
    if isinstance(number, Decimal):
        with pytest.raises(Refused, match="is not an integer"):
            convert(field("big"), number)


def test_a_number_beyond_a_double_is_not_infinite() -> None:
    """JSON has no infinity."""
    with pytest.raises(ValueError, match="range"):
        read_number("-1e400")


def test_depth_and_digits_follow_the_database() -> None:
    """Without a database the strictest limits apply; SQLite accepts deeper documents, but no
    more than 15 digits.
    """
    deep: Any = 1
    for _ in range(32):
        deep = [deep]
    assert refusal("document", deep) == "invalid"
    assert convert(field("document"), deep, "default") == deep
    with pytest.raises(Refused, match="precision"):
        convert(field("precise"), "1234567890.1234567", "default")


def test_naive_moments_are_meant_in_the_default_time_zone() -> None:
    """As in Django; but a local time that occurs twice, or never, does not say which moment it
    is.
    """
    with override_settings(TIME_ZONE="Europe/Berlin", USE_TZ=True):
        assert convert(field("moment"), "2024-07-01T12:00") == datetime.datetime(
            2024, 7, 1, 10, tzinfo=UTC
        )
        assert convert(field("moment"), "2024-07-01") == datetime.datetime(
            2024, 6, 30, 22, tzinfo=UTC
        )
        assert refusal("moment", "2024-10-27T02:30:00") == "invalid"
        assert refusal("moment", "2024-03-31T02:30:00") == "invalid"
        assert convert(field("moment"), "2024-10-27T02:30:00+01:00").hour == 1
    with override_settings(TIME_ZONE="Europe/Berlin", USE_TZ=False):
        assert convert(field("moment"), "2024-07-01T10:00Z") == datetime.datetime(2024, 7, 1, 12)
        assert convert(field("moment"), "2024-10-27T04:30:00").hour == 4
        assert refusal("moment", "2024-10-27T02:30:00") == "invalid"
        assert refusal("moment", "2024-03-31T02:30:00") == "invalid"
        assert refusal("moment", "2024-10-27T02:30:00+01:00") == "invalid"


def test_null_needs_a_column_that_may_be_null() -> None:
    """None is a value for nullable columns only."""
    assert convert(field("integer"), None) is None
    with pytest.raises(Refused, match="null"):
        convert(field("subject", Commit), None)


def test_foreign_keys_take_their_target_columns_values() -> None:
    """For unmapped parents: the target's conversion, and the foreign key's own NULL."""
    author = field("author", Commit)
    assert convert(author, "12") == 12
    for raw in (None, "x", True):
        with pytest.raises(Refused):
            convert(author, raw)


def refuse_everything(value: Any) -> None:
    """A validator."""
    raise ValidationError("refused")


def test_choices_and_validators_do_not_apply() -> None:
    """They belong to forms."""
    chosen = models.SlugField(choices=[("a", "A")], max_length=9, validators=[refuse_everything])
    assert convert(chosen, "no slug!") == "no slug!"


def test_fields_with_ways_of_their_own_convert_themselves() -> None:
    """A subclass that only renames converts like its parent; one that overrides to_python
    decides, and its errors are refusals.
    """

    class Named(models.IntegerField):
        """Changes only the name."""

    class Even(models.IntegerField):
        """Converts in its own way."""

        def to_python(self, value: Any) -> Any:
            if value == "boom":
                raise RuntimeError("boom")
            if value == "none":
                return None
            if int(value) % 2:
                raise ValidationError("odd\0")
            return int(value)

    class Shout(models.CharField):
        """Makes texts longer."""

        def to_python(self, value: Any) -> Any:
            return f"{value}!"

    with pytest.raises(Refused, match="type"):
        convert(Named(), "007")
    assert convert(Even(), "008") == 8
    for raw, code in (
        (3, "invalid"),
        ("boom", "invalid"),
        ("none", "null"),
        (None, "null"),
        ([], "invalid"),
        ("\0", "nul"),
    ):
        with pytest.raises(Refused) as caught:
            convert(Even(), raw)
        assert caught.value.code == code
        assert "\0" not in caught.value.detail
    assert convert(Shout(max_length=3), "hi") == "hi!"
    with pytest.raises(Refused, match="too-long"):
        convert(Shout(max_length=3), "high")


@isolate_apps("tests.app")
def test_postgres_fields_convert_part_by_part() -> None:
    """An array's items as its base field does, an hstore's as texts."""
    fields = pytest.importorskip("django.contrib.postgres.fields")
    numbers = fields.ArrayField(models.IntegerField())
    assert convert(numbers, [1, "2", 3.0]) == [1, 2, 3]
    no_numbers: list[Any] = [[1.5], [None], "1", {"a": 1}]
    for raw in no_numbers:
        with pytest.raises(Refused):
            convert(numbers, raw)
    store = fields.HStoreField()
    assert convert(store, {"a": "b", "c": None}) == {"a": "b", "c": None}
    no_stores: list[Any] = [{"a": 1}, [], {"a": "\0"}]
    for raw in no_stores:
        with pytest.raises(Refused):
            convert(store, raw)


def test_arrays_of_arrays_have_parts_of_one_length() -> None:
    """PostgreSQL refuses others, or, from version 17 on, turns [[], []] into []."""
    fields = pytest.importorskip("django.contrib.postgres.fields")
    inner = fields.ArrayField(models.IntegerField(null=True), null=True)
    twofold, threefold = fields.ArrayField(inner), fields.ArrayField(fields.ArrayField(inner))
    even: list[Any] = [[], [[1], [2]], [[None, 1]], [None, None]]
    for raw in even:
        assert convert(twofold, raw) == raw
        assert convert(threefold, [raw] if raw else raw) == ([raw] if raw else raw)
    odd: list[Any] = [[[]], [[], []], [[1], []], [[1], [2, 3]], [[1], None]]
    for raw in odd:
        for array, value in ((twofold, raw), (threefold, [raw]), (threefold, [[[1]], raw])):
            with pytest.raises(Refused, match="parts that are empty, or of different lengths"):
                convert(array, value)
    with pytest.raises(Refused, match="different lengths"):
        convert(threefold, [[[1]], [[2, 3]]])
    documents = fields.ArrayField(models.JSONField())
    assert convert(documents, [[], [1], [[]]]) == [[], [1], [[]]]


def test_refusals_survive_pickling_and_hold_only_storable_text() -> None:
    """They cross processes and are written into letters."""
    refused = Refused("invalid", "a\0b\ud800")
    again = pickle.loads(pickle.dumps(refused))
    assert (again.code, again.detail) == ("invalid", "a\\0b\\ud800")


def test_converters_are_compiled_once() -> None:
    """The same field gets the same function."""
    assert converter(field("integer")) is converter(field("integer"))


@pytest.mark.parametrize(
    ("name", "key", "code"),
    [
        ("integer", "007", "key"),
        ("integer", "7.0", "key"),
        ("integer", "-0", "key"),
        ("integer", "99999999999", "key"),
        ("char", "nine long", "key"),
        ("char", "a\0", "nul"),
        ("text", "x" * 2501, "key"),
        ("text", "é" * 1251, "key"),
        ("text", "\ud800", "invalid"),
        ("uuid", "A" * 32, "key"),
        ("uuid", "0A345678-1234-1234-1234-123456789012", "key"),
        ("moment", "2024-05-01T10:00:00+02:00", "key"),
        ("money", "1.1", "key"),
        ("address", "2001:DB8::1", "key"),
        ("boolean", "true", "key"),
    ],
)
def test_keys_that_would_not_come_back(name: str, key: str, code: str) -> None:
    """A key that the column does not hold verbatim is refused."""
    with pytest.raises(Refused) as caught:
        convert_key(field(name), key)
    assert caught.value.code == code


@pytest.mark.parametrize("key", ["0017", "+17", "-0", "00"])
def test_digits_are_not_told_that_they_are_no_integer(key: str) -> None:
    """They are the same value, in a spelling that the column does not keep."""
    with pytest.raises(Refused) as caught:
        convert_key(field("integer"), key)
    assert caught.value.detail == (
        f"The key '{key}' does not fit integer:"
        f" '{key}' would not come back unchanged from an integer field."
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("integer", "7"),
        ("integer", "-7"),
        ("char", "A"),
        ("char", "a "),
        ("char", ""),
        ("text", "x" * 2500),
        ("uuid", "0a345678-1234-1234-1234-123456789012"),
        ("moment", "2024-05-01T10:00:00Z"),
        ("money", "1.10"),
        ("day", "2024-05-01"),
        ("address", "2001:db8::1"),
    ],
)
def test_keys_that_come_back(name: str, key: str) -> None:
    """Whatever is accepted as a key is returned as the very same text."""
    assert key_text(field(name), convert_key(field(name), key)) == key


@given(
    st.sampled_from([each.name for each in AllFields._meta.concrete_fields]),
    st.text() | st.integers().map(str),
)
def test_keys_are_verbatim_or_refused(name: str, key: str) -> None:
    """For any column and any text: the same key again, or Refused."""
    try:
        value = convert_key(field(name), key)
    except Refused:
        return
    assert key_text(field(name), value) == key


NUMBER = uuid.UUID("0a345678-1234-1234-1234-123456789abc")


@pytest.mark.parametrize(
    ("name", "raw", "key"),
    [
        ("text", "A ", "A "),
        ("text", 7, "7"),
        ("text", None, None),
        ("text", NUMBER, str(NUMBER)),
        ("text", Color.RED, "red"),
        ("integer", 7, "7"),
        ("integer", "7", "7"),
        ("integer", 7.0, "7"),
        ("uuid", str(NUMBER).upper(), str(NUMBER)),
        ("uuid", NUMBER.hex, str(NUMBER)),
        ("money", "1.5", "1.50"),
        ("money", 1.5, "1.50"),
        ("money", "1e1", "10.00"),
        ("moment", "2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00Z"),
        ("day", datetime.date(2024, 5, 1), "2024-05-01"),
        ("span", "PT60S", "P0DT00H01M00S"),
        ("address", "2001:DB8::1", "2001:db8::1"),
    ],
)
def test_parents_are_named_as_their_keys_are_converted(name: str, raw: Any, key: str) -> None:
    """Whatever the parent's key column accepts as a key names that parent, however it is
    spelled.
    """
    assert parent_key_converter(field(name))(raw) == key


NO_KEYS: dict[str, list[Any]] = {
    "text": [True, 1.0, {}, [], "a\0", object(), Decimal("1.0"), "x" * 2501],
    "char": ["nine long", 123456789],
    "integer": ["007", "+7", 1.5, True, "seven", 2**40, "", {}],
    "uuid": ["no", 5, "A" * 31],
    "money": ["1.005", True, "one"],
}


@pytest.mark.parametrize("name", NO_KEYS)
def test_what_can_be_no_parents_key_is_refused(name: str) -> None:
    """A row would wait for ever for a parent whose key no row can have."""
    for raw in NO_KEYS[name]:
        with pytest.raises(Refused):
            parent_key_converter(field(name))(raw)


def test_same_tells_json_apart_as_json_does() -> None:
    """`true` is not 1 and the order of names does not count; numbers compare as numbers, however
    a database writes them.
    """
    document = field("document")
    assert same(document, {"a": 1, "b": [1.0]}, {"b": [1], "a": 1.0})
    assert same(document, 10**300, 1e300)
    assert same(document, JSON_NULL, JSON_NULL)
    assert not same(document, None, JSON_NULL)
    assert not same(document, JSON_NULL, None)
    assert same(document, None, None)
    assert not same(document, {"a": True}, {"a": 1})
    assert not same(document, [1], [1, 2])
    assert not same(document, {"a": 1}, {"b": 1})
    assert not same(document, "1", 1)
    assert not same(document, 2**53, 2**53 + 1)
    assert same(field("integer"), 1, 1)
    assert not same(field("char"), "a", "A")


@pytest.mark.django_db(databases="__all__")
def test_json_null_is_json_null_however_it_is_written(database: str) -> None:
    """Insert, bulk_update, update and save store JSON's null, which lookups tell from SQL NULL;
    both read back as None.
    """
    rows = AllFields._base_manager.using(database)
    rows.bulk_create(
        [AllFields(document=JSON_NULL, required_document=JSON_NULL), AllFields(document=None)]
    )
    first, second = rows.order_by("pk")
    assert (first.document, first.required_document, second.document) == (None, None, None)

    def with_json_null() -> list[int]:
        return list(rows.filter(document=JSON_NULL).order_by("pk").values_list("pk", flat=True))

    assert with_json_null() == [first.pk]
    assert rows.filter(document__isnull=True).get() == second
    second.document, first.document = JSON_NULL, {"a": 1}
    assert rows.bulk_update([first, second], ["document"]) == 2
    assert with_json_null() == [second.pk]
    rows.update(document=JSON_NULL)
    assert with_json_null() == [first.pk, second.pk]
    first.document = None
    first.save(using=database, update_fields=["document"])
    assert with_json_null() == [second.pk]
    assert rows.exclude(required_document=JSON_NULL).count() == 1


def test_whole_values_of_any_kind_fit_a_value_field() -> None:
    """Any JSON goes into a JSONField as it is."""
    data = field("data", Setting)
    whole: list[Any] = [0, False, "", [], {}, "text", 1.5]
    for raw in whole:
        assert convert(data, raw) == raw
        assert type(convert(data, raw)) is type(raw)
    assert convert(field("key", Author), "k") == "k"
