"""Draws the rooms of the package and their imports, for docs/architecture.md.

``make picture`` draws; ``make check`` fails if a picture differs from the code.
"""
