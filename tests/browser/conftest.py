"""A real browser: started once, a fresh context for each test, and a page that minds its manners."""

import shutil
from pathlib import Path

import pytest
from django.db.backends.signals import connection_created

CANDIDATES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    path = next((found for name in CANDIDATES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(CANDIDATES)})")
    with playwright.sync_playwright() as run:
        chromium = run.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def reads_that_do_not_wait():
    """A page may be asked for while a job writes. A file of SQLite's lets both go on; its memory, which the threads of a
    test share, says that the table is locked, unless whoever reads does not ask: https://sqlite.org/sharedcache.html
    """

    def do_not_ask(connection, **_):
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            connection.connection.execute("PRAGMA read_uncommitted = 1")

    connection_created.connect(do_not_ask)
    yield
    connection_created.disconnect(do_not_ask)


@pytest.fixture
def complaints():
    """What the browser complains of; a test takes out what it meant to happen."""
    return []


@pytest.fixture
def page(browser, live_server, tmp_path, complaints):
    """A page at the live server; the test fails if it broke the content security policy, or asked anyone else."""
    context = browser.new_context(base_url=live_server.url, accept_downloads=True)
    context.set_default_timeout(10_000)
    shown = context.new_page()
    shown.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on(
        "request", lambda request: complaints.append(request.url) if is_foreign(request.url, live_server) else None
    )
    yield shown
    context.close()
    assert complaints == []


def is_foreign(url, live_server):
    return not url.startswith((live_server.url, "data:", "blob:"))


@pytest.fixture
def reviews(tmp_path) -> Path:
    path = tmp_path / "reviews.csv"
    texts = [f"Review number {number}: {'lovely' if number % 2 else 'dreadful'}" for number in range(1, 9)]
    path.write_text("text,stars\n" + "".join(f'"{text}",{number % 5}\n' for number, text in enumerate(texts)))
    return path
