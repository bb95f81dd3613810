"""A real browser, offline: pages come from files, and may ask for nothing else."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import missing

LOCAL = ("file:", "data:", "blob:", "about:")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def chromium():
    """A headless browser with a profile of its own.

    It lives as long as a file of tests: while it does, an event loop runs in this
    thread, and tests of other files may start one of their own.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = missing.browser()
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Return a function that opens an HTML file, and watch what the page does.

    open_page(path, hash="#step=7", size=(1280, 900), **context) returns Playwright's
    page; context: options such as java_script_enabled, has_touch, color_scheme and
    reduced_motion. The test fails if a page says an error or asks a network.
    """
    seen = SimpleNamespace(errors=[], requests=[], contexts=[])

    def log(message):
        if message.type == "error":
            seen.errors.append(message.text)

    def watch(page):
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("console", log)
        page.on("request", lambda r: seen.requests.append(r.url))

    def open_file(path, hash="", size=(1280, 900), **context):
        viewport = dict(zip(("width", "height"), size, strict=True))
        context = chromium.new_context(viewport=viewport, **context)
        seen.contexts.append(context)
        context.set_offline(True)
        context.set_default_timeout(20_000)
        context.on("page", watch)
        page = context.new_page()
        page.goto(Path(path).absolute().as_uri() + hash)
        return page

    open_file.seen = seen
    yield open_file
    for context in seen.contexts:
        context.close()
    outgoing = [url for url in seen.requests if not url.startswith(LOCAL)]
    assert not seen.errors, "a page says an error"
    assert not outgoing, "a page asks a network"


@pytest.fixture
def sideways():
    """Return how many pixels a page is wider than its window."""
    return lambda page: page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
