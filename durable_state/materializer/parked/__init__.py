"""Changes that cannot be shown yet, and what they wait for.

Knows rows; whoever shows them is above.
"""
