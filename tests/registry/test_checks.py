"""Each mistake in a mapping has its number, says what to do and where it is written, and none
breaks the import.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from django.apps import apps
from django.core import checks
from django.db import connections, models
from django.db.models.functions import Length
from django.test.utils import isolate_apps

from durable_state import EntityMapping, camel_case
from durable_state.checks import check_database, check_mappings, check_registration
from durable_state.models import Stream
from durable_state.registry import Registry
from tests.app import models as app

from .support.checking import check, ids, mapping


def test_right_mappings_have_no_finding() -> None:
    """The mapping that the wrong ones are derived from is correct, and so are the test app's
    own.
    """
    from durable_state.registry import registry

    assert check(mapping()) == []
    assert check_mappings(registry) == []


class NotAModel:
    """Not a model."""


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("E001", {"model": None}, "no `model`"),
    ("E001", {"model": "app.Autor"}, "Did you mean 'app.Author'"),
    ("E001", {"model": "Author"}, "Did you mean 'app.Author'"),
    ("E001", {"model": "tests.app.models.Author"}, "there is no such model"),
    ("E001", {"model": "shop.Unheard"}, "INSTALLED_APPS"),
    ("E001", {"model": None, "Meta": type("Meta", (), {"model": app.Author})}, "into the mapping"),
    ("E001", {"Meta": type("Meta", (), {"fields": ["commits"]})}, "`class Meta`, which is ignored"),
    ("E001", {"model": NotAModel}, "not a model class"),
    ("E001", {"model": models.Model}, "not a model class|cannot|abstract"),
    ("E002", {"key_field": None}, "no `key_field`"),
    ("E002", {"key_field": "kee"}, "Did you mean 'key'"),
    ("E002", {"key_field": ["key"]}, "not a field"),
    ("E002", {"model": app.Remark, "key_field": "author", "fields": ["text"]}, "ForeignKey"),
    ("E002", {"model": app.AllFields, "key_field": "floating", "fields": ["text"]}, "verbatim"),
    ("E002", {"model": app.AllFields, "key_field": "document", "fields": ["text"]}, "verbatim"),
    ("E003", {"fields": None}, "neither"),
    ("E003", {"value_field": "commits"}, "both"),
    ("E003", {"fields": None, "value_field": ["commits"]}, "`value_field` is"),
    ("E003", {"fields": "commits"}, "['commits']"),
    ("E003", {"fields": 5}, "`fields` is 5"),
    ("E003", {"fields": [5]}, "`fields` is"),
    ("E003", {"fields": {"commits": 5}}, "`fields` is"),
    ("E003", {"fields": {"commits"}}, "`fields` is"),
    ("E004", {"fields": ["comits"]}, "Did you mean 'commits'"),
    ("E004", {"fields": {"comits": "x"}}, "Did you mean 'commits'"),
    ("E004", {"fields": camel_case(["commits"], 5)}, "not a field"),  # type: ignore[arg-type]
    ("E004", {"fields": ["commits", "commits"]}, "twice"),
    ("E004", {"fields": ["commits", "key"]}, "`key_field`"),
    ("E004", {"fields": ["commits", "id"]}, "primary key"),
    ("E004", {"fields": None, "value_field": "comits"}, "Did you mean"),
    (
        "E004",
        {"model": app.Commit, "fields": ["author_id", "subject", "authored_at"]},
        "by its field: 'author'",
    ),
    (
        "E004",
        {"model": app.Profile, "stream_field": "stream", "fields": ["name", "stream"]},
        "`stream_field`",
    ),
    ("E005", {"model": app.Remark, "key_field": "text", "fields": ["author"]}, "unique=True"),
    ("E005", {"model": app.Message, "fields": ["text"]}, "not unique"),
    (
        "E005",
        {"model": app.Score, "key_field": "label", "stream_field": "stream", "fields": ["points"]},
        "UniqueCons",
    ),
    ("E006", {"stream_field": "strem"}, "not a field"),
    ("E006", {"stream_field": "key"}, "both"),
    ("E006", {"stream_field": "commits", "fields": []}, "IntegerField"),
    (
        "E006",
        {"model": app.Commit, "stream_field": "author", "fields": ["subject"]},
        "stands for no stream",
    ),
    ("E010", {"update_mode": "patch"}, "merge"),
    ("E010", {"streams": "chat-*"}, "['chat-*']"),
    ("E010", {"streams": 5}, "`streams` is 5"),
    ("E010", {"streams": ["chat", 5]}, "`streams` is"),
    ("E010", {"streams": []}, "empty"),
    ("E010", {"version": "2"}, "`version`"),
    ("E010", {"version": True}, "`version`"),
    ("E011", {"model": app.Commit, "fields": ["subject"]}, "'author' is not listed"),
    ("E012", {"prepare": 5}, "not a method"),
    ("E012", {"prepare": lambda self: None}, "change alone"),
    ("E012", {"prepare": staticmethod(lambda: None)}, "change alone"),
    ("E012", {"represent": lambda self, row, more: None}, "row alone"),
    ("E030", {"exclude": ["note"]}, "`exclude` is not an attribute of a mapping"),
    ("E030", {"keyfield": "key"}, "Did you mean `key_field`"),
    ("E030", {"stream": "chat"}, "Did you mean `streams`"),
    ("E030", {"update_mod": "merge"}, "Did you mean `update_mode`"),
    ("E030", {"value": "commits"}, "Did you mean `value_field`"),
    ("E030", {"ordering": None}, "A mapping has `model`, `key_field`"),
    ("E030", {"prepar": lambda self, change: None}, "Did you mean `prepare`"),
    ("E030", {"represents": lambda self, row: None}, "Did you mean `represent`"),
    ("E030", {"label": "x"}, "EntityMapping's own"),
    (
        "W013",
        {"model": app.AllFields, "key_field": "id", "fields": {"text": "x", "char": "x"}},
        "'x'",
    ),
]


class Mixin:
    """What several mappings of a project share."""

    unread = 5


def test_names_of_the_projects_own_are_its_own() -> None:
    """Constants, private names, methods, properties and nested classes; a mixin's typo is found."""
    own = mapping(
        UNITS={"km": 1000},
        _cache={},
        slug=lambda self, change: "x",
        upper=property(lambda self: "X"),
        Kind=type("Kind", (), {}),
        exact=staticmethod(len),
    )
    assert check(own) == []
    mixed = type("Mixed", (Mixin, mapping()), {})
    assert ids(check(mixed)) == ["E030"]
    assert ids(check(type("Below", (mapping(exclude=[]),), {}))) == ["E030"]


class ForgottenMapping(EntityMapping):
    """Complete, and without ``@register``."""

    model = app.Author
    key_field = "key"
    fields = ["commits"]


class UsedMapping(ForgottenMapping):
    """Registered, if a test says so."""


class _PrivateMapping(ForgottenMapping):
    """A base for others."""


class IncompleteMapping(EntityMapping):
    """A base for others: it has no model."""


@pytest.fixture
def only_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of this module count as the project's only state_mappings."""
    module = types.ModuleType("tests.app.state_mappings")
    for each in (ForgottenMapping, UsedMapping, _PrivateMapping, IncompleteMapping):
        monkeypatch.setattr(each, "__module__", module.__name__)
        setattr(module, each.__name__, each)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_project_without_mappings_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no module, or one that registers nothing."""
    monkeypatch.delitem(sys.modules, "tests.app.state_mappings")
    [none] = check_registration(Registry())
    assert none.id == "durable_state.W031"
    assert "state_mappings.py" in str(none.hint)
    monkeypatch.setitem(sys.modules, "tests.app.state_mappings", types.ModuleType("shop.mine"))
    [empty] = check_registration(Registry())
    assert empty.id == "durable_state.W031"
    assert "shop.mine registers nothing" in str(empty.hint)


@pytest.mark.usefixtures("only_module")
def test_a_class_that_is_registered_for_nothing_is_told() -> None:
    """Unless it is a base: of a registered one, by its name, or because it has no model."""
    registry = Registry()
    found = list(check_registration(registry))
    assert [each.id for each in found] == ["durable_state.W032"] * 2
    assert "tests.app.state_mappings.ForgottenMapping" in found[0].msg
    registry.add("used", UsedMapping)
    assert list(check_registration(registry)) == []


@pytest.mark.usefixtures("only_module")
def test_a_class_whose_registration_was_refused_is_told_once() -> None:
    """For a bare ``@register``, or a type that is taken, E014 says what is wrong."""
    registry = Registry()
    registry.register(UsedMapping)  # type: ignore[arg-type]
    registry.add("", ForgottenMapping)
    assert len(registry.mistakes) == 2
    assert list(check_registration(registry)) == []


def test_a_model_that_is_not_there_is_no_riddle_of_djangos() -> None:
    """E001 reports it; models.E022 would also name a function of ours."""
    assert ids(check(mapping(model="app.Nope"))) == ["E001"]
    assert ("app", "nope") not in apps._pending_operations


@pytest.mark.parametrize(
    ("number", "attributes", "words"), WRONG, ids=[f"{n}-{w[:20]}" for n, _, w in WRONG]
)
def test_mistake_has_its_number(number: str, attributes: dict[str, Any], words: str) -> None:
    """A mapping with this mistake gets this number, once per wrong name, with an explanation and
    the place where it is written.
    """
    found = check(mapping(**attributes))
    matching = [message for message in found if message.id == f"durable_state.{number}"]
    assert matching, found
    text = f"{matching[0].msg} {matching[0].hint}"
    assert any(word in text for word in words.split("|")), text
    assert "The mapping is defined at" in str(matching[0].hint)
    assert isinstance(matching[0].obj, EntityMapping)
    assert set(ids(found)) <= {number, "E011", "E005"}


@pytest.mark.parametrize("attributes", [attributes for _, attributes, _ in WRONG])
def test_no_mistake_stops_the_checks_of_a_database(attributes: dict[str, Any]) -> None:
    """They pass over what the checks of mappings report."""
    registry = Registry()
    registry.add("type", mapping(**attributes))
    check_database(registry, ["default"])


def test_a_misspelt_column_is_one_mistake() -> None:
    """It does not also report that nothing is written to the intended column."""
    wrong: list[dict[str, Any]] = [
        {"model": app.Commit, "fields": ["subject", "auther"]},
        {"model": app.Commit, "fields": ["subject", "author_id"]},
    ]
    assert [ids(check(mapping(**each))) for each in wrong] == [["E004"], ["E004"]]
    (column,) = check(mapping(**wrong[1]))
    assert column.msg == "'author_id' is not a field of app.Commit."


async def _coroutine(self: Any, change: Any) -> None:
    """A prepare that cannot work."""


def test_coroutine_prepare_is_e012() -> None:
    """`prepare` is called, not awaited."""
    assert ids(check(mapping(prepare=_coroutine))) == ["E012"]


@isolate_apps("tests.app")
def test_model_kinds_without_a_table_of_their_own() -> None:
    """Abstract models are E001; multi-table children, proxies and swapped models E007;
    an abstract parent is fine.
    """

    class Abstract(models.Model):
        key = models.CharField(max_length=9, unique=True)
        commits = models.IntegerField(default=0)

        class Meta:
            abstract = True
            app_label = "app"

    class Concrete(Abstract):
        class Meta:
            app_label = "app"

    class Child(Concrete):
        class Meta:
            app_label = "app"

    class Proxy(Concrete):
        class Meta:
            app_label = "app"
            proxy = True

    class Unmanaged(Abstract):
        class Meta:
            app_label = "app"
            managed = False

    assert ids(check(mapping(model=Abstract))) == ["E001"]
    assert ids(check(mapping(model=Concrete))) == []
    assert ids(check(mapping(model=Child)))[:1] == ["E007"]
    assert ids(check(mapping(model=Proxy))) == ["E007"]
    assert ids(check(mapping(model=Unmanaged))) == []


@isolate_apps("tests.app")
def test_columns_that_a_stream_cannot_keep() -> None:
    """Computed, automatic and many-to-many fields are E004 where listed,
    and left out of "__all__".
    """

    class Odd(models.Model):
        key = models.CharField(max_length=9, unique=True)
        text = models.TextField()
        seen = models.DateTimeField(auto_now=True)
        length = models.GeneratedField(
            expression=Length("text"), output_field=models.IntegerField(), db_persist=True
        )
        others = models.ManyToManyField("self")

        class Meta:
            app_label = "app"

    assert (
        ids(check(mapping(model=Odd, fields=["text", "seen", "length", "others"]))) == ["E004"] * 3
    )
    (many,) = check(mapping(model=Odd, fields=["text", "others"]))
    assert many.msg == "'others' has no column in the table of app.Odd."
    everything = mapping(model=Odd, fields="__all__")
    assert check(everything) == []
    assert everything("odd").wire_names == {"text": "text"}


@isolate_apps("tests.app")
def test_unique_keys() -> None:
    """Any unconditional way to make the key unique is right; a condition or an expression makes
    it wrong.
    """

    def model(name: str, **meta: Any) -> type[models.Model]:
        fields: dict[str, Any] = {
            "stream": models.ForeignKey(Stream, on_delete=models.CASCADE),
            "key": models.CharField(max_length=9),
            "commits": models.IntegerField(default=0),
        }
        return type(
            name,
            (models.Model,),
            {
                "__module__": __name__,
                **fields,
                "Meta": type("Meta", (), {"app_label": "app", **meta}),
            },
        )

    def of(number: int, *, with_stream: bool = True, **meta: Any) -> list[str]:
        stream_field = "stream" if with_stream else None
        streamless = {} if with_stream else {"fields": ["commits", "stream"]}
        return ids(
            check(
                mapping(
                    model=model(f"Keyed{number}", **meta), stream_field=stream_field, **streamless
                )
            )
        )

    pair = ["key", "stream"]
    assert of(1) == ["E005"]
    assert of(2, unique_together=[pair]) == []
    assert of(3, constraints=[models.UniqueConstraint(fields=pair, name="a")]) == []
    assert of(
        4,
        constraints=[models.UniqueConstraint(fields=pair, name="b", condition=models.Q(commits=1))],
    ) == ["E005"]
    assert of(5, constraints=[models.UniqueConstraint(models.F("key"), name="c")]) == ["E005"]
    assert of(6, constraints=[models.UniqueConstraint(fields=["key"], name="d")]) == []
    assert of(
        7, constraints=[models.UniqueConstraint(fields=pair, name="e")], with_stream=False
    ) == ["E005"]


def test_columns_left_out() -> None:
    """E011 ignores columns that have a default, may be NULL or are text; but not a unique text,
    since only one row may be empty.
    """
    with isolate_apps("tests.app"):

        class Unlisted(models.Model):
            key = models.CharField(max_length=9, unique=True)
            note = models.TextField()
            number = models.IntegerField(null=True)
            counted = models.IntegerField(default=0)
            by_database = models.IntegerField(db_default=5)
            made = models.DateTimeField(auto_now_add=True)
            slug = models.SlugField(unique=True)
            when = models.DateTimeField()

            class Meta:
                app_label = "app"

        found = check(mapping(model=Unlisted, fields=[]))
    assert [message.msg.split()[0] for message in found] == ["'slug'", "'when'"]


def test_short_stream_field_is_w016() -> None:
    """A warning for a text column that cannot hold every stream's name, unless `streams` says
    which ones come.
    """
    with isolate_apps("tests.app"):

        class Short(models.Model):
            key = models.CharField(max_length=9, unique=True)
            room = models.CharField(max_length=20)

            class Meta:
                app_label = "app"

        short = mapping(model=Short, fields=[], stream_field="room")
        assert ids(check(short)) == ["W016"]
        assert (
            ids(check(mapping(model=Short, fields=[], stream_field="room", streams=["a*"]))) == []
        )


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (None, None, True),
        (["a*"], None, True),
        (["a*"], ["*b"], True),
        (["a*"], ["b*"], False),
        (["chat-*"], ["history"], False),
        (["chat-?"], ["chat-[0-9]"], True),
        (["[!a]x"], ["ax"], False),
        (["x", "a"], ["b", "a"], True),
    ],
)
def test_two_types_on_one_model_are_e008(one: Any, other: Any, shared: bool) -> None:
    """Wrong exactly if a stream can have a name that both serve; the second mapping says where
    the first one is.
    """
    found = check(mapping(streams=one), mapping(streams=other))
    assert ids(found) == (["E008"] if shared else [])
    assert all(
        "test_checks.py" in str(message.hint) or "Mapping" in str(message.hint) for message in found
    )


def test_second_registration_is_e014_and_says_where_the_first_is() -> None:
    """Two mappings of one type are a mistake if their streams overlap."""

    class First(EntityMapping):
        model = app.Author
        key_field = "key"
        fields = ["commits"]

    class Second(First):
        pass

    found = check(First, Second, entity_type="author")
    assert ids(found) == ["E014"]
    assert found[0].msg.count("test_checks.py:") == 2
    assert "First" in found[0].msg


def test_wrong_registrations_are_e014() -> None:
    """Objects that are not mappings, have no type, or cannot be made are reported and otherwise
    ignored.
    """
    assert ids(check(NotAModel)) == ["E014"]
    assert ids(check("text")) == ["E014"]
    for entity_type in ("", "a\0", "x" * 256, 5):
        assert ids(check(mapping(), entity_type=entity_type)) == ["E014"]
    assert ids(check(mapping(__init__=lambda self: None))) == ["E014"]
    registry = Registry()
    assert registry.register(mapping()) is not None  # type: ignore[arg-type]
    assert ids(check_mappings(registry)) == ["E014"]


def test_what_cannot_be_examined_is_e019() -> None:
    """An attribute that raises when it is read is reported like any other mistake."""

    def explode(self: Any) -> Any:
        raise RuntimeError("boom")

    found = check(mapping(update_mode=property(explode)))
    assert ids(found) == ["E019"]
    assert "boom" in found[0].msg


@pytest.mark.django_db(transaction=True, databases="__all__")
@isolate_apps("tests.app")
def test_key_collation_is_e009(database: str) -> None:
    """On MySQL a key or stream column that treats different texts as equal is wrong; other
    databases have no such columns.
    """

    class Loose(models.Model):
        room = models.CharField(max_length=100)
        key = models.CharField(max_length=40)

        class Meta:
            app_label = "app"
            constraints = [models.UniqueConstraint(fields=["room", "key"], name="app_loose_key")]

    registry = Registry()
    registry.add("loose", mapping(model=Loose, fields=[], stream_field="room"))
    connection = connections[database]
    assert check_database(registry, [database]) == []  # no table yet
    with connection.schema_editor() as editor:
        editor.create_model(Loose)
    try:
        assert check_database(registry, [database]) == []  # the test databases compare bytes
        if connection.vendor != "mysql":
            return
        for collation, numbers in (
            ("utf8mb4_bin", ["W015"]),
            ("utf8mb4_general_ci", ["E009", "E009"]),
        ):
            with connection.cursor() as cursor:
                cursor.execute(
                    f"ALTER TABLE app_loose CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}"
                )
            found = check_database(registry, [database])
            assert ids(found) == numbers
            assert collation in found[0].msg
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Loose)


@pytest.mark.django_db
def test_long_decimals_on_sqlite_are_w017() -> None:
    """SQLite stores doubles, so a decimal column of more than 15 digits causes a warning."""
    registry = Registry()
    registry.add("all", mapping(model=app.AllFields, key_field="id", fields=["precise", "money"]))
    found = check_database(registry, ["default"])
    assert ids(found) == ["W017"]
    assert "precise" in found[0].msg


def test_checks_are_registered() -> None:
    """`manage.py check` runs them, under a tag of their own."""
    assert checks.run_checks(tags=["durable_state"]) == []
    assert "durable_state" in checks.registry.registry.tags_available()
