"""How fast a recorded stream gets into tables, compared with other ways to do it.

Each contestant runs in its own process, so that CPU seconds and peak memory are its own. All of
them must end with the same rows.
"""
