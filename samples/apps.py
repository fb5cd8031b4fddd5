"""The app; loading it registers who may do what, and has the database count after every `migrate`."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save, pre_save


class SamplesConfig(AppConfig):
    name = "samples"
    verbose_name = "Data"

    def ready(self):
        from . import (
            counting,
            permissions,  # noqa: F401  (registers who may do what)
        )

        post_migrate.connect(counting.install, sender=self)
        pre_save.connect(counting.keep_apart, sender="samples.StatusCount")
        post_save.connect(counting.leave_out, sender="samples.StatusCount")
