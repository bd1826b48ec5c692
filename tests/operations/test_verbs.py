"""Adding, pausing and resuming, each with its audit entry."""

from __future__ import annotations

import pytest
from django.utils import timezone

from durable_state import operations
from durable_state.errors import OperationRefused, TableNotOwned
from durable_state.models import Intent, Status, Stream, TableOwner
from durable_state.registry import registry
from durable_state.testing import apply
from tests.app.models import Author

pytestmark = pytest.mark.django_db

URL = "https://streams.example.org/v1/chat?token=secret"


def test_add_begins_at_the_start_and_leaves_an_audit_entry_without_secrets() -> None:
    """The audit trail names who and what; the query's values are masked."""
    stream = operations.add("chat", URL, actor="ada", live="long-poll")
    stream.refresh_from_db()
    assert (stream.url, stream.live, stream.offset, stream.status) == (
        URL,
        "long-poll",
        "-1",
        "new",
    )
    intent = Intent.objects.get()
    assert (intent.verb, intent.stream_name, intent.actor) == ("add", "chat", "ada")
    assert "secret" not in intent.detail


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("no spaces", URL),
        ("", URL),
        ("n" * 101, URL),
        ("chat\n", URL),
        ("chat", "ftp://example.org/x"),
        ("chat", "https://user:pass@example.org/x"),
        ("chat", "https://example.org/" + "x" * 2000),
        ("chat", "nonsense"),
    ],
)
def test_add_refuses_a_bad_name_or_url(name: str, url: str) -> None:
    """Nothing is left behind."""
    with pytest.raises(OperationRefused) as refused:
        operations.add(name, url, actor="ada")
    assert refused.value.message
    assert not Stream.objects.exists()
    assert not Intent.objects.exists()


def test_add_refuses_a_url_outside_the_allowed_ones(settings: object) -> None:
    """ALLOWED_URLS applies to operators too."""
    settings.DURABLE_STATE = {"ALLOWED_URLS": ["https://streams.example.org/v1/"]}  # type: ignore[attr-defined]
    operations.add("chat", URL, actor="ada")
    with pytest.raises(OperationRefused, match="allowed"):
        operations.add("other", "https://elsewhere.example.org/v1/chat", actor="ada")


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_add_refuses_a_name_that_is_taken(database: str) -> None:
    """And leaves one stream with one audit entry, in the database that was named."""
    operations.add("chat", URL, actor="ada", using=database)
    with pytest.raises(OperationRefused, match="already"):
        operations.add("chat", URL, actor="ada", using=database)
    assert Stream.objects.using(database).count() == Intent.objects.using(database).count() == 1


def test_adopt_takes_the_rows_that_are_there() -> None:
    """Without it the first change halts the stream; with it the row is updated in place."""
    row = Author.objects.create(key="ada", commits=1)
    operations.add("git", URL, actor="ada", adopt=True)
    apply(
        "git",
        [
            {
                "type": "author",
                "key": "ada",
                "value": {"commits": 2},
                "headers": {"operation": "insert"},
            }
        ],
    )
    assert Author.objects.get() == row
    assert Author.objects.get().commits == 2


def test_adopt_takes_no_table_from_another_stream() -> None:
    """It is refused by name, and the stream is not added."""
    operations.add("git", URL, actor="ada", adopt=True)
    with pytest.raises(OperationRefused, match="'git'"):
        operations.add("other", URL, actor="ada", adopt=True)
    assert list(Stream.objects.values_list("name", flat=True)) == ["git"]
    assert set(TableOwner.objects.values_list("stream__name", flat=True)) == {"git"}


def test_pause_is_a_flag_beside_the_status() -> None:
    """The revision stays: no commit was made."""
    stream = operations.add("chat", URL, actor="ada")
    operations.pause(stream, actor="ada")
    stream.refresh_from_db()
    assert stream.paused
    assert stream.revision == 0
    operations.resume(stream, actor="bob")
    assert not Stream.objects.get().paused
    assert list(Intent.objects.order_by("pk").values_list("verb", "actor")) == [
        ("add", "ada"),
        ("pause", "ada"),
        ("resume", "bob"),
    ]


@pytest.mark.parametrize("status", [Status.HALTED, Status.RETRYING])
def test_resume_forgives(status: str) -> None:
    """It is tried at once; the error that had stopped it is kept in the audit entry."""
    stream = operations.add("chat", URL, actor="ada")
    now = timezone.now()
    Stream.objects.update(
        status=status,
        last_error="token refused",
        action="x",
        failures=7,
        retry_at=now,
    )
    operations.resume(stream, actor="bob")
    assert (stream.status, stream.failures, stream.retry_at) == (
        "catching-up",
        0,
        None,
    )
    assert (stream.last_error, stream.action) == ("", "")
    assert "token refused" in Intent.objects.get(verb="resume").detail


def test_resume_does_not_hide_that_a_reset_is_needed() -> None:
    """The server no longer holds what comes next."""
    stream = operations.add("chat", URL, actor="ada")
    Stream.objects.update(status=Status.NEEDS_RESET, last_error="410")
    with pytest.raises(OperationRefused, match="reset chat"):
        operations.resume(stream, actor="bob")
    assert Stream.objects.get().status == "needs-reset"
    assert not Intent.objects.filter(verb="resume").exists()


def test_a_verb_on_a_stream_that_is_gone_is_refused() -> None:
    """Somebody else removed it meanwhile."""
    stream = operations.add("chat", URL, actor="ada")
    operations.remove(Stream.objects.get(), actor="bob")
    with pytest.raises(OperationRefused, match="no longer there"):
        operations.pause(stream, actor="ada")


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    """One clear line."""
    operations.add("chat", URL, actor="ada")
    with pytest.raises(OperationRefused, match="Did you mean chat"):
        operations.find_stream("chatt")
    assert operations.find_stream("chat").name == "chat"


def test_a_stream_that_has_halted_at_rows_of_others_can_take_them_over() -> None:
    """As its message advises; before anything was read, or in the middle of the stream."""
    Author.objects.create(key="a", commits=1)
    Author.objects.create(key="b", commits=1)
    first = {"type": "message", "key": "1", "value": {"text": "x"}}
    inserts = [
        first | {"headers": {"operation": "insert"}},
        {"type": "author", "key": "a", "value": {"commits": 5}, "headers": {"operation": "insert"}},
    ]
    for name, read in (("fresh", 0), ("read", 1)):
        if read:
            apply(name, inserts[:read])
        with pytest.raises(TableNotOwned, match="--adopt"):
            apply(name, inserts[read:])
        stream = Stream.objects.get(name=name)
        Stream.objects.filter(pk=stream.pk).update(status=Status.HALTED, last_error="rows")
        kept = Author.objects.get(key="a").pk
        operations.adopt(stream, actor="ada")
        assert (stream.status, stream.last_error) == (Status.CATCHING_UP, "")
        apply(name, inserts)
        assert dict(Author.objects.values_list("key", "commits")) == {"a": 5}
        assert Author.objects.get(key="a").pk == kept
        assert Intent.objects.filter(verb="adopt", stream_name=name).count() == 1
        operations.remove(stream, actor="ada", keep_rows=True)
        Author.objects.create(key="b", commits=1)


def test_there_is_nothing_to_take_over_where_the_tables_are_the_streams_or_anothers() -> None:
    """The first says so, and so does the second, naming the other stream."""
    author = {"type": "author", "key": "a", "value": {"commits": 5}}
    apply("git", [author | {"headers": {"operation": "insert"}}])
    git = Stream.objects.get()
    other = operations.add("other", URL, actor="ada")
    with pytest.raises(OperationRefused, match="belongs to the stream 'git'"):
        operations.adopt(other, actor="ada")
    labels = {each.label for each in registry.for_stream("git") if each.stream_field is None}
    owned = set(TableOwner.objects.values_list("model", flat=True))
    TableOwner.objects.bulk_create(
        TableOwner(model=label, stream=git) for label in sorted(labels - owned)
    )
    with pytest.raises(OperationRefused, match="its own already"):
        operations.adopt(git, actor="ada")
    assert not Intent.objects.filter(verb="adopt").exists()
