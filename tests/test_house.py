"""The house keeps its own rules."""

from io import StringIO

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration():
    call_command("makemigrations", check=True, dry_run=True, stdout=StringIO())


def test_the_settings_pass_django_s_own_check():
    call_command("check")
