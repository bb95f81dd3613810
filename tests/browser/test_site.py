"""Every page of the lessons, opened from its file, offline and on a narrow screen."""

import pytest

from lessons import pages

pytestmark = [
    pytest.mark.needs("browser"),
    pytest.mark.needs("mdit_py_plugins"),
    pytest.mark.needs("latex2mathml"),
    pytest.mark.slow,
]

NAMES = sorted(path.stem for path in pages.HERE.glob("[0-9]*.py"))
OTHERS = {"index": "Lessons", "api": "Reference"}
each_page = pytest.mark.parametrize("name", [*NAMES, *OTHERS])


@each_page
def test_a_page_opens_and_fits(name, site, open_page, sideways):
    page = open_page(site / f"{name}.html", size=(320, 640))
    heading = page.locator("h1").inner_text()
    assert heading.startswith(OTHERS.get(name, f"{name[:2]} · "))
    for fold in page.locator("details").all():
        fold.evaluate("fold => fold.open = true")
    assert sideways(page) <= 0
    drawn = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert all(drawn) and bool(drawn) == (name != "api")


@each_page
def test_a_page_can_be_used_by_keyboard(name, site, open_page):
    page = open_page(site / f"{name}.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_hidden_until_it_is_asked_for(name, site, open_page):
    page = open_page(site / f"{name}.html")
    folds = page.locator("details.reveal")
    lines = (pages.HERE / f"{name}.py").read_text(encoding="utf-8").splitlines()
    asked = sum(line.startswith("# **Predict.**") for line in lines)
    assert folds.count() == asked
    for fold in folds.all():
        answer = fold.get_by_text("Reveal.", exact=True)
        assert not answer.is_visible()
        fold.locator("summary").press("Enter")
        assert answer.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [NAMES[0], "api"])
def test_text_stands_out_from_its_paper(name, scheme, site, open_page):
    page = open_page(site / f"{name}.html", color_scheme=scheme)
    # WCAG 2.2: 4.5 for text of this size
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 5
    assert min(ratios.values()) >= 4.5, min(ratios, key=ratios.get)


def test_neighbours_are_linked(site, open_page):
    page = open_page(site / f"{NAMES[0]}.html")
    for name in NAMES[1:]:
        page.locator('a[rel="next"]').first.click()
        assert page.url.endswith(f"/{name}.html")
    page.get_by_role("link", name="All lessons").first.click()
    assert page.url.endswith("/index.html")
    assert page.locator("h3 a").count() == len(NAMES)
    page.get_by_role("link", name="api.html").click()
    assert page.locator("h1").inner_text() == "Reference"


CONTRASTS = """() => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = {};
  for (const element of document.querySelectorAll("main *, nav a, footer p")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || element.closest("math")) continue;
    const [a, b] = [getComputedStyle(element).color, paper(element)].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = element.tagName + " " + element.className;
    found[name] = Math.min(found[name] ?? 99, ratio);
  }
  return found;
}"""
