"""A question that many subscribers share is asked once, and its answer not kept for long."""

from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth import get_user_model

from durable_state.feed import run_for, shared_answers
from durable_state.feed.rows import shown_rows
from durable_state.feed.shared_answers import share_answer, sharing_answers
from durable_state.registry import registry
from durable_state.users import user_now

from .support.commits import commit, make_stream


async def test_an_answer_is_shared_within_the_block_only() -> None:
    """Also for calls in threads; an error is not shared."""
    answers = iter(range(10))

    def ask() -> int:
        return share_answer("question", lambda: next(answers))

    assert [ask(), ask()] == [0, 1]
    with sharing_answers():
        found = await asyncio.gather(*(run_for(f"user {n}", ask) for n in range(3)))
        assert found == [2, 2, 2]
        with pytest.raises(ZeroDivisionError):
            share_answer("other", lambda: 1 // 0)
        assert share_answer("other", lambda: 5) == 5
    assert ask() == 3


def test_an_answer_gets_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again after a while, in the same block."""
    monkeypatch.setattr(shared_answers, "SHARED_SECONDS", -1.0)
    with sharing_answers():
        assert share_answer("question", lambda: 1) == 1
        assert share_answer("question", lambda: 2) == 2


@pytest.mark.django_db
def test_rows_are_read_anew_though_their_query_is_shared() -> None:
    """The next subscriber does not see what another has read."""
    stream = make_stream()
    mapping = registry.find("setting", "chat")
    assert mapping is not None
    with sharing_answers():
        first = shown_rows(mapping, stream)
        assert list(first) == []
        commit(stream, {("setting", "a"): 1})
        assert [row.pk for row in shown_rows(mapping, stream)]


@pytest.mark.django_db
def test_a_user_of_several_streams_is_read_once() -> None:
    """With the same permissions; others are read again, and so is everybody in the next round."""
    users = get_user_model().objects
    anna, ben = users.create(username="anna"), users.create(username="ben")
    with sharing_answers():
        now = user_now(anna)
        assert user_now(anna) is now
        assert user_now(ben) == ben
    anna.delete()
    with sharing_answers():
        assert not user_now(users.model(pk=now.pk)).is_authenticated
