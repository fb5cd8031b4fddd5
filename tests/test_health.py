"""Alive and ready: what a load balancer and a container ask."""

from contextlib import contextmanager

import pytest
from django.db import connections
from django.db.utils import ConnectionHandler


@contextmanager
def database_at(path):
    """The ORM on an SQLite file at `path`."""
    options = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
    before, connections["default"] = connections["default"], ConnectionHandler({"default": options})["default"]
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before


def test_alive_asks_no_database(client):
    answer = client.get("/healthz")  # a test without the db mark may not touch it
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_ready_when_nothing_is_missing(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_not_ready_while_migrations_are_missing(client, settings, tmp_path):
    settings.MIGRATION_MODULES = {}
    with database_at(tmp_path / "empty.sqlite3"):
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reason"].endswith("migrations are not applied")


@pytest.mark.django_db
def test_not_ready_while_the_database_does_not_answer(client, tmp_path):
    with database_at(tmp_path / "no such folder" / "hub.sqlite3"):
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the database does not answer")


def test_they_are_only_for_reading(client):
    assert client.post("/healthz").status_code == 405
    assert client.head("/healthz").status_code == 200
