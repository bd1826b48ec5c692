"""The policy: the default one, and possible policies of a project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from durable_state import EntityMapping, StatePolicy, register
from durable_state.errors import ConfigurationError
from durable_state.models import Stream
from durable_state.policy import audience_of, get_policy, readable_rows
from durable_state.registry import registry
from tests.app.models import Message, Setting
from tests.feed.support.commits import make_stream

pytestmark = pytest.mark.django_db


class LongMessages(StatePolicy):
    """Everyone sees the long messages, all settings, and no profile."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        """All of them."""
        return Stream.objects.all()

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """By model."""
        if queryset.model is Message:
            return queryset.filter(text__contains="long").order_by("text")
        return (
            queryset.order_by("pk").all()
            if queryset.model is Setting
            else queryset.filter(pk__in=[])
        )


def readable(user: Any) -> set[str]:
    return {stream.name for stream in get_policy().streams(user)}


def test_who_reads_which_streams(make_user: Any) -> None:
    """Signed in, with the view permission of a model that is mapped for the stream,
    or of all streams.
    """
    make_stream("chat-1")
    make_stream("other")
    assert readable(AnonymousUser()) == readable(make_user(name="nobody")) == set()
    assert readable(make_user("app.view_message", name="reader")) == {"chat-1", "other"}
    assert readable(make_user("durable_state.view_stream", name="operator")) == {"chat-1", "other"}
    inactive = make_user(name="inactive", superuser=True)
    inactive.is_active = False
    assert readable(inactive) == set()


def test_a_model_counts_only_where_its_mapping_serves(make_user: Any) -> None:
    """A permission opens the streams that the model's mapping serves."""
    registry.clear()

    @register("remark")
    class Remarks(EntityMapping):
        model = Message
        key_field = "key"
        stream_field = "room"
        fields = ["text"]
        streams = ["chat-*"]

    for name in ("chat-1", "CHAT-2", "other"):
        make_stream(name)
    assert readable(make_user("app.view_message")) == {"chat-1"}


class OneRoom(StatePolicy):
    """Everyone sees one stream completely."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        """The lobby only."""
        return Stream.objects.filter(name="lobby")

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """All of them."""
        return queryset


def test_a_proxy_shows_no_more_than_its_model(configure: Callable[..., None]) -> None:
    """Rows of streams that the user may not read stay hidden, whichever model asks."""
    configure(POLICY=f"{__name__}.OneRoom")
    for name in ("lobby", "cellar"):
        make_stream(name)
        Message.objects.create(room=name, key=name, text="x")
    Message.objects.create(room=None, key="own", text="x")
    with isolate_apps("tests.app"):

        class Note(Message):
            class Meta:
                proxy = True
                app_label = "app"

    for model in (Message, Note):
        rows = readable_rows(AnonymousUser(), model._default_manager.all())
        assert {row.key for row in rows} == {"lobby", "own"}


def test_an_audience_knows_all_none_and_some(
    configure: Callable[..., None], make_user: Any
) -> None:
    """A type is complete if the policy does not narrow it, narrowed if it does, and absent if it
    gives nothing.
    """
    configure(POLICY=f"{__name__}.LongMessages")
    audience = audience_of(AnonymousUser(), make_stream())
    assert {name: sight.narrowed for name, sight in audience.sights.items()} == {
        "message": True,
        "setting": False,
    }
    assert audience.narrowed
    only = audience_of(AnonymousUser(), Stream.objects.get(), ["setting", "profile"])
    assert list(only.sights) == ["setting"]
    assert not only.narrowed
    assert only.is_personal  # its user learns of the transactions of messages


def test_audiences_that_see_the_same_share_a_signature(make_user: Any) -> None:
    """Their identity does not matter, only what they see."""
    stream = make_stream()
    one, other = (
        make_user("app.view_message", name="one"),
        make_user("app.view_message", name="other"),
    )
    more = make_user("app.view_message", "app.view_setting", name="more")
    assert audience_of(one, stream).signature == audience_of(other, stream).signature
    assert audience_of(more, stream).signature != audience_of(one, stream).signature
    asked = audience_of(more, stream, ["message"])
    assert asked.signature == audience_of(more, stream, ["message"]).signature
    # It learns of the transactions of settings.
    assert asked.signature != audience_of(one, stream).signature
    assert not asked.is_personal


@pytest.mark.parametrize(
    "path", ["nowhere.Policy", "durable_state.models.Stream", "durable_state.policy.audience_of"]
)
def test_a_wrong_policy_says_so(path: str, configure: Callable[..., None]) -> None:
    """A configuration error names the path."""
    configure(POLICY=path)
    with pytest.raises(ConfigurationError, match=path):
        get_policy()


def test_users_of_two_kinds_are_not_taken_for_one(
    make_user: Any, configure: Callable[..., None]
) -> None:
    """A device that a project's authentication names may have the same number as a person: they
    share nothing that is narrowed. Two objects of one person do.
    """
    configure(POLICY=f"{__name__}.LongMessages")
    stream = make_stream()
    person = make_user()

    class Device(AnonymousUser):
        pk = person.pk
        is_authenticated = True  # type: ignore[assignment]

    def name(user: Any) -> Any:
        return audience_of(user, stream).name

    assert name(person) == name(SimpleLazyObject(lambda: person)) is not None
    assert name(Device()) not in (None, name(person))
