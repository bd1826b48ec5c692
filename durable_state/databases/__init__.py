"""What each database is like, in one place: how a transaction is bounded, what an error means,
how rows are found by many keys, and how many are written at once.

``find_database`` is the one function that asks which database it is; all else asks what that gives.
Knows tables, columns and values; neither models of this app nor streams nor mappings.

Why: decision 18.
"""

from __future__ import annotations

from .choosing import VENDORS, database_of, find_database
from .database import Database
from .parameters import Columns
from .together import Answer, Statement

__all__ = [
    "VENDORS",
    "Answer",
    "Columns",
    "Database",
    "Statement",
    "database_of",
    "find_database",
]
