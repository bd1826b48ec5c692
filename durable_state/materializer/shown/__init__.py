"""The shown rows: which change goes first, which rows make way for others, what is deleted along
with a row, and which parked changes can be shown now.

Knows what is parked, but nothing that is staged.
"""
