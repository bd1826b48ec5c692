"""Launchers of real stream servers, and of one that misbehaves on purpose."""
