"""Rows of the application's tables: found, compared and written, with their unique values, their
parents, and what the application keeps in them.

Knows prepared changes, and nothing of what is parked or staged, or of which change goes first.
"""
