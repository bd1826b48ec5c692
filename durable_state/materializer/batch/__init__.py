"""A batch before its transaction: messages sorted by entity, folded to one change each, prepared.

Asks no database for rows. Knows the plan, and nothing that is shown, parked or staged.
"""
