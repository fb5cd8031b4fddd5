"""The app; loading it registers who may do what."""

from django.apps import AppConfig


class ExportsConfig(AppConfig):
    name = "exports"
    verbose_name = "Exports"

    def ready(self):
        from . import permissions  # noqa: F401  (registers who may do what)
