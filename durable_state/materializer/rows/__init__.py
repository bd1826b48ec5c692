"""Finds, compares and writes rows of the application's tables, with their unique values, their
parents, and what the application keeps in them.

Knows prepared changes, but nothing of what is parked or staged, or of which change goes first.
"""
