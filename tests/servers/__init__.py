"""Servers that the tests run for real."""
