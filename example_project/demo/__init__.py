"""`python -m example_project.demo`: starts and ends all processes that the example needs."""
