"""How fast a recorded stream gets into tables, beside other ways.

Each contestant runs in a process of its own, so that CPU seconds and peak memory are its own. All
of them must end with the same rows.
"""
