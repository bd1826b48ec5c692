"""Draws the rooms of the package and what they import, for docs/architecture.md.

``make picture`` draws; ``make check`` fails where a picture is not what the code imports.
"""
