"""Changes that cannot be shown yet, and what they wait for.

Knows rows; the modules that show these changes are above.
"""
