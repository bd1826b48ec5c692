"""What mappings derive from their attributes."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import CharField, Model
from hypothesis import given
from hypothesis import strategies as st

from durable_state import EntityChange, EntityMapping, camel_case
from durable_state.registry import Registry
from durable_state.registry.patterns import ALPHABET, overlap
from tests.app import models


def mapping(**attributes: Any) -> EntityMapping:
    """A mapping of Message, apart from the attributes given."""
    right = {
        "model": models.Message,
        "key_field": "key",
        "stream_field": "room",
        "fields": ["text", "likes"],
    }
    return type("Mapping", (EntityMapping,), right | attributes)("message")


def change(value: Any) -> EntityChange:
    """An insert with that value."""
    return EntityChange("chat", "message", "k", "insert", value, None, {}, 1)


def test_camel_case() -> None:
    """Snake case becomes camelCase; everything else in a name stays."""
    assert camel_case("sent_at", "edited", "at_2b") == {
        "sent_at": "sentAt",
        "edited": "edited",
        "at_2b": "at2b",
    }
    assert camel_case("sent_at") | {"author": "userId"} == {"sent_at": "sentAt", "author": "userId"}


def test_wire_names_of_each_way_to_list_fields() -> None:
    """A list keeps the names, a dict renames, "__all__" takes every writable field, value_field
    takes none.
    """
    assert mapping().wire_names == {"text": "text", "likes": "likes"}
    assert mapping(fields=("text",)).wire_names == {"text": "text"}
    assert mapping(fields={"text": "body"}).wire_names == {"text": "body"}
    assert mapping(fields="__all__").wire_names == {
        "text": "text",
        "likes": "likes",
        "edited": "edited",
    }
    assert mapping(fields=None, value_field="text").wire_names == {}


def test_prepare_takes_the_listed_fields_that_the_value_has() -> None:
    """Unlisted keys are ignored, and left-out fields stay out."""
    assert mapping(fields={"text": "body", "likes": "n"}).prepare(change({"body": 1, "x": 2})) == {
        "text": 1
    }
    assert mapping(fields=None, value_field="text").prepare(change([1])) == {"text": [1]}
    with pytest.raises(ValidationError) as caught:
        mapping().prepare(change([1]))
    assert caught.value.code == "not-an-object"


def test_field_finds_columns_only() -> None:
    """Reverse relations and unknown names are not columns."""
    author = type(
        "Mapping", (EntityMapping,), {"model": models.Author, "key_field": "key", "fields": []}
    )("author")
    assert author.field("key").name == "key"
    for name in ("commit", "nothing"):
        with pytest.raises(FieldDoesNotExist):
            author.field(name)


def test_the_fingerprint_follows_what_makes_rows() -> None:
    """It changes with fields, mode, version and `prepare`; not with the served streams or the
    way rows are shown.
    """
    plain = mapping().fingerprint
    assert mapping(streams=["a"], represent=lambda self, row: None).fingerprint == plain
    changed = [
        mapping(fields=["text"]),
        mapping(fields={"text": "body", "likes": "likes"}),
        mapping(update_mode="merge"),
        mapping(version=2),
        mapping(prepare=lambda self, change: None),
        mapping(key_field="text"),
        mapping(stream_field=None),
    ]
    assert len({plain, *(each.fingerprint for each in changed)}) == len(changed) + 1


def test_streams_are_patterns() -> None:
    """Shell wildcards, case-sensitive; without `streams` every stream is served; invalid values
    serve none.
    """
    assert mapping().serves("anything")
    assert mapping(streams=["chat-*", "log"]).serves("chat-1")
    assert not mapping(streams=["chat-*", "log"]).serves("Chat-1")
    for rubbish in (5, [], [5]):
        assert not mapping(streams=rubbish).serves("5")


def test_find_takes_the_mapping_that_serves_the_stream() -> None:
    """One type may have a mapping for each kind of stream."""
    registry = Registry()

    @registry.register("message")
    class Chat(EntityMapping):
        model = models.Message
        key_field = "key"
        fields = ["text"]
        streams = ["chat-*"]

    @registry.register("message")
    class Log(Chat):
        streams = ["log"]

    assert type(registry.find("message", "chat-1")) is Chat
    assert type(registry.find("message", "log")) is Log
    assert registry.find("message", "other") is None
    assert registry.find("other", "log") is None
    assert [type(each) for each in registry.for_stream("log")] == [Log]
    assert registry.mistakes == []


patterns = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "["]), max_size=4).map(
    "".join
)


@given(patterns, patterns, st.text(st.sampled_from("abc"), max_size=4))
def test_patterns_that_match_one_name_overlap(one: str, other: str, name: str) -> None:
    """If a stream's name can match both patterns, they are reported as overlapping."""
    if mapping(streams=[one]).serves(name) and mapping(streams=[other]).serves(name):
        assert overlap([one], [other])
        assert overlap([other], [one])


@pytest.mark.parametrize(
    ("one", "other"), [("a*", "b*"), ("[ab]", "c"), ("??", "???"), ("a", "ab"), ("[!a]*", "a*")]
)
def test_patterns_that_match_no_name_in_common_do_not_overlap(one: str, other: str) -> None:
    """Disjoint patterns are recognized."""
    assert not overlap([one], [other])
    assert "/" not in ALPHABET


def test_patterns_may_be_long() -> None:
    """As long as those of a generated list of names."""
    long = "ab" * 1000
    assert overlap([long], [long])
    assert overlap(["*" + long], ["a*" + "b" * 500 + "*", long[:-1] + "?"])
    assert not overlap([long], [long + "a"])
    assert not overlap(["*" * 1000 + "a"], ["*" * 1000 + "b"])


def test_a_model_may_be_named_by_its_label() -> None:
    """Django's way of naming models, in any case; a subclass inherits it."""
    named = mapping(model="app.message")
    assert (named.model, type(named).model) == (models.Message, models.Message)
    assert named.fingerprint == mapping().fingerprint
    assert type("Sub", (type(named),), {})("other").model is models.Message


def test_a_model_named_by_its_label_may_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the module that defines the model imports the mapping, while models load."""
    monkeypatch.setattr(apps, "models_ready", False)
    named = mapping(model="app.Late")
    monkeypatch.undo()
    assert named.model == "app.Late"
    try:

        class Late(Model):
            key = CharField(max_length=40, unique=True)

            class Meta:
                app_label = "app"

        assert named.model is Late
    finally:
        del apps.all_models["app"]["late"]
        apps.clear_cache()
