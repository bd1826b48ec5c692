"""Names of parameters that are the same in each process of a run."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["name_value"]


def name_value(value: Any) -> str:
    """The value's repr, without its address in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
