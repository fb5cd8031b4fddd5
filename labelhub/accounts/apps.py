"""The app and its name in the admin."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "labelhub.accounts"
    verbose_name = "Accounts"
