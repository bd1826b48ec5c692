"""What the property tests share with the materializer's."""

from tests.materializer.conftest import using

__all__ = ["using"]
