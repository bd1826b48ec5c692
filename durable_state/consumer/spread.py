"""Decides how streams are spread over the seats, without asking the database.

Why: decision 47.
"""

from __future__ import annotations

from collections.abc import Sequence

from durable_state.conf import Settings

from .seating import Occupied

__all__ = ["choose", "is_surplus", "seats_needed", "surplus"]

SLACK = 10
"""A seat may be off its fair share by one such part of it before streams move."""


def seats_needed(settings: Settings, wanted: int) -> int:
    """How many seats that many streams need."""
    if settings.seats is not None:
        return min(wanted, settings.seats)
    return -(-wanted // settings.seat_streams)


def choose(seats: Sequence[Occupied], pk: int, free: Sequence[int]) -> Sequence[int]:
    """Which of the ``free`` streams the seat claims, up to its fair share.

    Each seat starts at a different one, so that few seats reach for the same stream.
    """
    mine = _find(seats, pk)
    room = max(0, _share(seats, mine, len(free)) - mine.held)
    first = len(free) * seats.index(mine) // len(seats)
    return [*free[first:], *free[:first]][:room]


def surplus(seats: Sequence[Occupied], pk: int, free: int) -> int:
    """How many of its streams the seat gives up because others have too few.

    Invariant: while no seat comes or goes, streams move until the shares are even, and then stay;
    and no two seats give up a stream to cover the same deficit.
    """
    mine = _find(seats, pk)
    share = _share(seats, mine, free)
    if mine.held > share + share // SLACK:
        return mine.held - share

    # Seats above the minimum that each is due give one up, in their order, to those below it.
    floor = (sum(seat.held for seat in seats) + free) // len(seats)
    lacking = sum(_lack(seat, floor) for seat in seats) - free
    above = [seat.pk for seat in seats if seat.held > floor]
    return int(pk in above[: max(0, lacking)])


def is_surplus(seats: Sequence[Occupied], pk: int, free: int, settings: Settings) -> bool:
    """Whether there is a seat too many, and this is the one to go."""
    wanted = sum(seat.held for seat in seats) + free
    needed = max(1, seats_needed(settings, wanted + wanted // SLACK))
    return pk in [seat.pk for seat in seats][needed:]


def _share(seats: Sequence[Occupied], mine: Occupied, free: int) -> int:
    wanted = sum(seat.held for seat in seats) + free
    return min(mine.capacity, -(-wanted // len(seats)))


def _lack(seat: Occupied, floor: int) -> int:
    due = min(floor, seat.capacity)
    return due - seat.held if seat.held < due - due // SLACK else 0


def _find(seats: Sequence[Occupied], pk: int) -> Occupied:
    return next(seat for seat in seats if seat.pk == pk)
