"""A real server for the contracts: `manage.py serve`, as a user starts it, with a database of its own."""

import socket
from urllib.request import urlopen

import pytest
from django.conf import settings
from rest_framework_simplejwt.tokens import RefreshToken

from tests.jobs.conftest import installation, migrated, wait_until

__all__ = ["installation", "migrated"]


class Served:
    """A running server at `url`; the ORM of the test speaks to its database, and its secrets are the test's."""

    def __init__(self, url, process):
        self.url = url
        self.process = process

    def jwt(self, user):
        return str(RefreshToken.for_user(user).access_token)

    def log(self):
        return self.process.log.read_text()


@pytest.fixture
def served(installation):  # noqa: F811  (a fixture)
    """One web process of eight threads, and a worker."""
    installation.env |= {"SECRET_KEY": settings.SECRET_KEY, "JOB_LEASE_SECONDS": "600"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = installation.start("serve", "--port", str(port), "--workers", "1")
    url = f"http://127.0.0.1:{port}"

    def is_up():
        assert process.poll() is None, process.log.read_text()
        try:
            with urlopen(f"{url}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    wait_until(is_up, seconds=90, what="the first answer")
    return Served(url, process)
