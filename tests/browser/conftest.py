"""A real browser: started once, a fresh context for each test, and a page that minds its manners."""

import shutil
from pathlib import Path

import pytest

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
