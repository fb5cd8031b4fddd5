"""The app; loading it registers who may do what."""

from django.apps import AppConfig


class SamplesConfig(AppConfig):
    name = "samples"
    verbose_name = "Data"

    def ready(self):
        from . import permissions  # noqa: F401  (registers who may do what)
