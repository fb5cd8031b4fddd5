"""What every test may ask for."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before Django reads its settings: a data folder of the tests' own, never the developer's.
if "DATA_DIR" not in os.environ:
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="labelhub-tests-")
    atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright keeps an event loop in the test's thread

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

# A busy machine is no reason to fail: how long an example takes says nothing about what it shows.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")

DATA = Path(os.environ.get("LABELHUB_TEST_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))


def pytest_addoption(parser):
    parser.addoption(
        "--with-database",
        action="store_true",
        help="only the tests that ask a database: the others say the same on every one",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--with-database"):
        others = [item for item in items if not asks_a_database(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if asks_a_database(item)]


def asks_a_database(item) -> bool:
    """In its own process, or in those of an installation that it starts."""
    return "django_db_setup" in getattr(item, "fixturenames", ()) or item.get_closest_marker("django_db") is not None


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets; a test that needs it is skipped, saying so, where it is missing."""
    if not DATA.is_dir():
        pytest.skip(f"the real data sets are not here ({DATA}); set LABELHUB_TEST_DATA to their folder")
    return DATA


@pytest.fixture(autouse=True)
def own_files(settings, tmp_path):
    """Every test writes its files into a folder of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    storages = {name: dict(options) for name, options in settings.STORAGES.items()}
    storages["default"]["OPTIONS"] = {"location": str(tmp_path / "media")}
    storages["local"]["OPTIONS"] = {"location": str(tmp_path / "exports")}
    storages["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = storages
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def s3_store(tmp_path_factory):
    """A real S3 store of this test process's own, started when the first test asks for it."""
    from tests import s3

    root = tmp_path_factory.mktemp("s3")
    if reason := s3.why_not(root):
        pytest.skip(reason)
    store = s3.Store(root).start()
    yield store
    store.remove()


@pytest.fixture
def s3(s3_store):
    """A fresh bucket in a real S3 store: endpoint_url, bucket, access_key, secret_key, and a client."""
    return s3_store.make_bucket()
