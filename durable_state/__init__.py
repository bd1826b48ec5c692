"""Keeps Django models equal to remote Durable State streams."""
