"""Waits grow, are spread, and obey the server."""

from __future__ import annotations

import pytest

from durable_state.transport import delay


@pytest.mark.parametrize(
    ("failures", "bound"), [(0, 0.5), (1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (1_000_000, 60)]
)
def test_the_bound_doubles_up_to_a_minute(failures: int, bound: float) -> None:
    """And the whole range below it is used."""
    waits = [delay(failures, None) for _ in range(500)]
    assert 0 <= min(waits) < bound * 0.1
    assert bound * 0.9 < max(waits) <= bound


def test_a_server_that_asks_for_more_gets_it() -> None:
    """Up to an hour; asking for less does not shorten the wait."""
    assert delay(1, 120) == 120
    assert delay(1, 1e9) == 3_600
    assert max(delay(5, 0.01) for _ in range(100)) > 1
    assert delay(1, -5) >= 0
