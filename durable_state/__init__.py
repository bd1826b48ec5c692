"""Keeps Django models equal to remote Durable State streams, continuously and exactly.

What a project imports from here is all it needs to write mappings; everything loads lazily, because
Django imports this package before its models are ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .policy import StatePolicy
    from .registry import EntityChange, EntityMapping, camel_case, register

__all__ = ["EntityChange", "EntityMapping", "StatePolicy", "camel_case", "register"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(
        import_module(f"{__name__}.{'policy' if name == 'StatePolicy' else 'registry'}"), name
    )
