from django.apps import AppConfig


class HistoryConfig(AppConfig):
    name = "example_project.history"
    label = "history"
