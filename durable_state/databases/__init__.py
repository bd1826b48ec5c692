"""What each database is like, in one place: how a transaction is bounded, what an error means,
how many rows are found and written at once.

Knows tables, columns and values; neither models of this app nor streams nor mappings.
"""
