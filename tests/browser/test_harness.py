"""The harness itself: it shows a page, and sees errors and requests."""

import pytest

pytestmark = pytest.mark.needs("browser")


def write(tmp_path, body):
    path = tmp_path / "page.html"
    path.write_text(f'<!doctype html><meta charset="utf-8">{body}', encoding="utf-8")
    return path


def test_a_page_opens_from_a_file_and_its_script_runs(open_page, tmp_path):
    page = open_page(
        write(tmp_path, "<script>document.title = location.hash</script>"), "#step=7"
    )
    assert page.title() == "#step=7"


def test_errors_and_requests_are_seen(open_page, tmp_path):
    body = (
        '<script>console.error("a"); addEventListener("load", () => missing())</script>'
    )
    open_page(write(tmp_path, body + '<img src="https://example.org/a.png">'))
    seen = open_page.seen
    assert any("missing" in error for error in seen.errors) and "a" in seen.errors
    assert "https://example.org/a.png" in seen.requests
    # so that the fixture lets this test pass
    seen.errors.clear(), seen.requests.clear()


def test_a_page_that_is_too_wide_is_seen(open_page, tmp_path, sideways):
    page = open_page(
        write(tmp_path, '<div style="width:500px">a</div>'), size=(320, 600)
    )
    assert sideways(page) > 0
    page.set_viewport_size({"width": 800, "height": 600})
    assert sideways(page) == 0
