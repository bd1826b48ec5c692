"""Errors survive pickling on their way through a broker."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from durable_state import errors

classes = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, errors.DurableStateError)
]


@pytest.mark.parametrize("error", classes)
def test_every_class_round_trips_through_pickle(error: type[errors.DurableStateError]) -> None:
    """With all arguments, and with none."""
    values: dict[str, Any] = {
        "message": "what",
        "action": "do",
        "status": 429,
        "retry_after": 1.5,
        "detail": "'ada'",
        "entity_type": "user",
        "seconds": 7.0,
    }
    no_arguments: list[Any] = []
    names = list(inspect.signature(error).parameters)
    for arguments in (no_arguments, [values[name] for name in names]):
        copy = pickle.loads(pickle.dumps(error(*arguments)))
        assert type(copy) is error
        assert vars(copy) == vars(error(*arguments))
        assert str(copy) == str(error(*arguments))


def test_all_names_every_class() -> None:
    """`from durable_state.errors import *` gives the tree."""
    assert sorted(errors.__all__) == sorted(found.__name__ for found in classes)


def test_the_text_is_the_message_and_what_to_do() -> None:
    """One line for a status."""
    assert str(errors.Unavailable("No answer.", "Wait.", None, 3)) == "No answer. Wait."
    assert str(errors.ConfigurationError("Wrong.")) == "Wrong."
