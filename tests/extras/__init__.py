"""What `pip install django-durable-state[...]` brings, in environments that have nothing else."""
