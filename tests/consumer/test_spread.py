"""How many streams each seat takes and gives up, whoever comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from durable_state.conf import load
from durable_state.consumer import spread
from durable_state.consumer.seating import Occupied

ROUNDS = 60


def seats(held: list[int], capacity: int = 1000) -> list[Occupied]:
    """Seats that hold so many streams."""
    return [
        Occupied(pk, f"host:{pk}:run:x", capacity, False, count)
        for pk, count in enumerate(held, start=1)
    ]


def one_round(held: list[int], free: int) -> tuple[list[int], int]:
    """Each seat in turn takes, or gives up, what it should by its own view."""
    for number in range(len(held)):
        now = seats(held)
        taken = len(spread.choose(now, number + 1, range(free)))
        given = 0 if taken else spread.surplus(now, number + 1, free)
        held = [*held[:number], held[number] + taken - given, *held[number + 1 :]]
        free += given - taken
    return held, free


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 60))
def test_shares_become_even_and_then_rest(held: list[int], free: int) -> None:
    """No stream is left out, and nothing flaps."""
    wanted = sum(held) + free
    for _ in range(ROUNDS):
        held, free = one_round(held, free)
    assert (sum(held), free) == (wanted, 0)
    assert max(held) - min(held) <= max(1, 0.2 * wanted / len(held) + 1)
    assert one_round(held, free) == (held, free)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 60))
def test_no_two_seats_give_up_for_the_same_want(held: list[int], free: int) -> None:
    """All decide at the same moment: nobody falls below the minimum that each is due."""
    now = seats(held)
    floor = (sum(held) + free) // len(held)
    for each in now:
        assert each.held - spread.surplus(now, each.pk, free) >= min(each.held, floor)


def test_those_who_come_get_their_share() -> None:
    """The first one has all; it gives up the share of the others."""
    assert spread.surplus(seats([20, 0]), 1, 0) == 10
    assert len(spread.choose(seats([10, 0]), 2, range(10))) == 10
    assert spread.surplus(seats([10, 10, 0]), 1, 0) == 3


def test_two_seats_begin_at_different_streams() -> None:
    """So that they do not reach for the same ones."""
    now = seats([0, 0])
    assert set(spread.choose(now, 1, range(10))) & set(spread.choose(now, 2, range(10))) == set()


def test_nobody_takes_more_than_it_can_hold() -> None:
    """Any surplus needs another seat."""
    settings = load({"SEAT_STREAMS": 5})
    assert len(spread.choose(seats([3], capacity=5), 1, range(9))) == 2
    assert spread.seats_needed(settings, 12) == 3
    assert spread.seats_needed(settings, 0) == 0
    assert spread.seats_needed(load({"SEATS": 4}), 12) == 4
    assert spread.seats_needed(load({"SEATS": 4}), 2) == 2


def test_the_last_that_joined_is_one_too_many() -> None:
    """If fewer are needed; a few streams more or less change nothing."""
    settings = load({"SEAT_STREAMS": 10})
    assert not spread.is_surplus(seats([5, 5]), 2, 0, settings)  # 10 and a tenth need two
    assert spread.is_surplus(seats([4, 5]), 2, 0, settings)
    assert not spread.is_surplus(seats([4, 5]), 1, 0, settings)
