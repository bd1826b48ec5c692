"""What Prometheus scrapes, and what a process counts and traces."""
