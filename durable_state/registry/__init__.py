"""Knows which model each entity type becomes, and how. May look at models and the protocol; knows
no HTTP and writes no row.
"""

from .change import EntityChange
from .mapping import EntityMapping, camel_case
from .registry import Registry, register, registry

__all__ = ["EntityChange", "EntityMapping", "Registry", "camel_case", "register", "registry"]
