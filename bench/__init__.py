"""How fast, side by side: ``python -m bench`` (or ``make bench``). Not packaged.

A folder for each kind of measurement, with a ``trial.py`` that runs it on one database after
another, reports the results, and compares them with the targets.
"""
