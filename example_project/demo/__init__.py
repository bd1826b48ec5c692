"""`python -m example_project.demo`: everything the example needs, as processes of their own, started and ended together."""
