"""Retrying and discarding dead letters."""

from __future__ import annotations

import pytest

from durable_state import operations
from durable_state.errors import OperationRefused
from durable_state.models import DeadLetter, FeedEntry, Intent, Stream
from durable_state.testing import apply
from tests.app.models import Message
from tests.wire import END, START, message

pytestmark = pytest.mark.django_db


def test_an_accepted_letter_becomes_a_row() -> None:
    """By the real materializer, as a commit with its feed entry and its audit entry."""
    apply("chat", [message("1", "x" * 50)])
    letter = DeadLetter.objects.get()
    letter.body = bytes(letter.body).replace(b"x" * 50, b"short enough")
    letter.save()
    assert operations.retry(letter, actor="ada")
    assert Message.objects.get().text == "short enough"
    assert not DeadLetter.objects.exists()
    assert Stream.objects.get().revision == FeedEntry.objects.count() == 2
    assert "accepted" in Intent.objects.get(verb="retry", actor="ada").detail


def test_a_letter_that_is_refused_again_stays() -> None:
    """With its reason, and no row."""
    apply("chat", [message("1", "x" * 50)])
    assert not operations.retry(DeadLetter.objects.get(), actor="ada")
    assert DeadLetter.objects.count() == 1
    assert not Message.objects.exists()
    assert "refused again" in Intent.objects.get().detail


def test_a_superseded_letter_never_brings_an_old_value_back() -> None:
    """The newer change stays."""
    apply("chat", [message("1", "x" * 50)])
    letter = DeadLetter.objects.get()
    apply("chat", [message("1", "newer")])
    with pytest.raises(OperationRefused):
        operations.retry(letter, actor="ada")
    assert Message.objects.get().text == "newer"


def test_a_letter_of_an_open_snapshot_waits_for_its_end() -> None:
    """Its change belongs to rows that are not shown yet."""
    apply("chat", [START, message("1", "x" * 50)])
    letter = DeadLetter.objects.get()
    letter.body = bytes(letter.body).replace(b"x" * 50, b"short enough")
    letter.save()
    with pytest.raises(OperationRefused):
        operations.retry(letter, actor="ada")
    assert DeadLetter.objects.exists()
    assert not Message.objects.exists()
    apply("chat", [END])
    assert operations.retry(DeadLetter.objects.get(), actor="ada")
    assert Message.objects.get().text == "short enough"


def test_discard_deletes_the_letter_and_says_which() -> None:
    """The audit entry outlives it."""
    apply("chat", [message("1", "x" * 50)])
    operations.discard(DeadLetter.objects.get(), actor="ada")
    assert not DeadLetter.objects.exists()
    assert Intent.objects.get(verb="discard").detail == "message 1 (message): too-long"


def test_many_at_once_are_counted() -> None:
    """Separately: one that cannot be retried does not stop the others."""
    apply("chat", [message("1", "x" * 50), b"5", message("2", "y" * 50)])
    letter = DeadLetter.objects.get(key="2")
    letter.body = bytes(letter.body).replace(b"y" * 50, b"fine")
    letter.save()
    assert operations.retry_all(DeadLetter.objects.all(), actor="ada") == (1, 2)
    assert operations.discard_all(DeadLetter.objects.all(), actor="ada") == 2
    assert Intent.objects.get(verb="discard").detail == "2 dead letters"
    assert not DeadLetter.objects.exists()
