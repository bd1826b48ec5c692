"""W031, W032: mappings that are missing, or not registered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from types import ModuleType

from django.apps import apps
from django.core import checks

from durable_state.registry import EntityMapping, Registry

__all__ = ["check_registration"]

REGISTER = 'Write @register("type") above the class, with the entity type in the stream.'


def check_registration(registry: Registry) -> Iterator[checks.CheckMessage]:
    """W032: a class in an app's ``state_mappings`` is not registered. W031: nothing is."""
    modules = list(_modules())
    forgotten = list(chain.from_iterable(_forgotten(registry, module) for module in modules))
    for mapping_class in forgotten:
        name = f"{mapping_class.__module__}.{mapping_class.__qualname__}"
        yield checks.Warning(
            f"The mapping {name} is not registered for any type.", REGISTER, id="durable_state.W032"
        )
    if forgotten or registry.mistakes or any(True for _ in registry):
        return  # those messages say what is wrong

    looked_in = ", ".join(module.__name__ for module in modules)
    yield checks.Warning(
        "durable_state is installed, but no mapping is registered, so no message becomes a row.",
        f"{looked_in} registers nothing. {REGISTER}"
        if looked_in
        else "Write a module state_mappings.py, with a mapping in it, in an app of INSTALLED_APPS.",
        id="durable_state.W031",
    )


def _modules() -> Iterator[ModuleType]:
    """Yields the modules that autodiscovery has imported."""
    for app in apps.get_app_configs():
        module = sys.modules.get(f"{app.name}.state_mappings")
        if module is not None:
            yield module


def _forgotten(registry: Registry, module: ModuleType) -> Iterator[type[EntityMapping]]:
    """Yields the complete mapping classes of a module that are neither registered
    nor a base of one that is.
    """
    for name, each in vars(module).items():
        if (
            isinstance(each, type)
            and issubclass(each, EntityMapping)
            and each.__module__ == module.__name__
            and not name.startswith("_")
            and getattr(each, "model", None) is not None
            and each not in registry.named
            and not any(isinstance(mapping, each) for mapping in registry)
        ):
            yield each
