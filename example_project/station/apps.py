from django.apps import AppConfig


class StationConfig(AppConfig):
    name = "example_project.station"
    default_auto_field = "django.db.models.BigAutoField"
