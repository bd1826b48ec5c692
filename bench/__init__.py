"""How fast, side by side: ``python -m bench`` (or ``make bench``). Not packaged.

One run records events, serves them from one static local server, and lets each contestant bring them into each database at hand, each
in a process of its own, so that CPU seconds and peak memory are its own. All of them must end with the same rows.
"""
