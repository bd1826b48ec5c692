"""Tests of the feed endpoint, as clients of the protocol see it."""
