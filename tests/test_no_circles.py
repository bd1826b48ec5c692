"""No module of the package imports, in whatever way, a module that imports it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def test_no_file_imports_in_a_circle() -> None:
    """Imports for type checkers and inside functions count as well: a reader follows them too."""
    graph = grimp.build_graph("durable_state", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle = error.args[1]
        pytest.fail(f"files import in a circle: {' ← '.join(circle)}", pytrace=False)
