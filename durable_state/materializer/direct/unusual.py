"""Why something is left to the fold."""

__all__ = ["Unusual"]


class Unusual(Exception):
    """It takes the fold: roll back, and fold the batch."""
