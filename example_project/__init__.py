"""A small real application on Durable State: a repository's history, and a chat."""

from .celery import app as celery_app

__all__ = ["celery_app"]
