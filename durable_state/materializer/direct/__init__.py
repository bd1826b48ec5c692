"""A few ordinary changes, taken to their rows without the fold: read once, compared, written once.

What is not ordinary, or turns out otherwise than usual, is ``Unusual``: the caller rolls the whole
transaction back, and folds the same batch. Invariant: nothing here changes the batch, the stream or
anything else in memory that the fold could meet, so the rollback leaves no trace; and what is
written equals what the fold would write, since comparing rows and making columns of them is the
fold's own code.

May look at plan, batch and rows; knows nothing of what is parked, staged or in a letter, but that
there is nothing.
"""

from .changes import DirectChanges, TypeFacts
from .unusual import Unusual

__all__ = ["DirectChanges", "TypeFacts", "Unusual"]
