"""The shown rows: which change goes first, who makes way, what goes with a deleted row, and what
can be shown now that has waited.

Knows what is parked, and nothing that is staged.
"""
