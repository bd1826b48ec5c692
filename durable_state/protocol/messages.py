"""The messages of the State Protocol, decoded once. Stub: see task."""
