"""A refusal by the database costs no other change, however the changes were cut into batches."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from durable_state.models import DeadLetter
from durable_state.testing import apply
from tests.app.models import Quota
from tests.examples import lenient
from tests.wire import change

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("writer")]

Answer = tuple[dict[str, tuple[int, int]], dict[str, tuple[int, str]]]

_spare = st.integers(1, 5)
# An update never repairs what another broke: in one batch, the database sees only the result of
# both.
_values = {
    "update": st.fixed_dictionaries(
        {}, optional={"inUse": st.sampled_from([50, 99, "x"]), "spare": _spare}
    ),
    "insert": st.fixed_dictionaries(
        {}, optional={"inUse": st.sampled_from([1, 5, 50, "x"]), "spare": _spare}
    ),
    "delete": st.just({}),
}
_changes = st.sampled_from(["update"] * 5 + ["insert", "insert", "delete"]).flatmap(
    lambda operation: st.builds(
        lambda key, value: change("quota", key, operation, **value),
        st.sampled_from("abc"),
        _values[operation],
    )
)


def answer(using: str, batches: list[list[dict[str, Any]]]) -> Answer:
    """Rows and letters by key, after the batches; the database is as before then."""
    with transaction.atomic(using=using):
        for batch in batches:
            apply("merging-office", batch, using=using)
        rows = {row.key: (row.used, row.spare) for row in Quota.objects.using(using).all()}
        letters = {
            each.key: (each.ordinal, each.reason) for each in DeadLetter.objects.using(using).all()
        }
        transaction.set_rollback(True, using=using)
    return rows, letters


def test_merges_that_a_check_refuses(using: str) -> None:
    """One batch gives the same as the changes one by one."""

    @lenient(20)
    @given(st.lists(_changes, min_size=2, max_size=12), st.integers(0, 4))
    def check(messages: list[dict[str, Any]], before: int) -> None:
        alone = answer(using, [[message] for message in messages])
        assert answer(using, [messages]) == alone
        assert answer(using, [messages[:before], messages[before:]]) == alone

    check()
