"""Tests of the benchmark: that it runs, checks its contestants, and writes the figures of the
docs.
"""
