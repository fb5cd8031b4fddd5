"""The app, and the discovery of background work: whatever an app does later stands in its tasks.py."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class JobsConfig(AppConfig):
    name = "labelhub.jobs"
    verbose_name = "Background jobs"

    def ready(self):
        autodiscover_modules("tasks")  # an app's background work stands in its tasks.py
