"""Writes a few ordinary changes without the fold: rows are read once, compared, and written once.

Anything that is not ordinary raises ``Unusual``: the caller rolls the whole transaction back, and
folds the same batch. Invariant: nothing here changes the batch, the stream or anything else in
memory that the fold could meet, so the rollback leaves no trace. What is written equals what the
fold would write, because the fold's own code compares rows and turns them into columns.

May use plan, batch and rows; knows nothing of parked, staged or refused changes, except that there
are none.
"""

from .changes import DirectChanges, TypeFacts
from .unusual import Unusual

__all__ = ["DirectChanges", "TypeFacts", "Unusual"]
