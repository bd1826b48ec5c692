"""Tests of what Prometheus scrapes, and of what a process counts and traces."""
