"""The step player in a real browser: what it shows is what its data hold."""

import json

import pytest

import minigen
from minigen.show import frames, player

pytestmark = pytest.mark.needs("browser")


@pytest.fixture(scope="module")
def data():
    pipe = minigen.load("arpg-mnist", backend="numpy")
    kinds = {"halton, 8": ("halton", 8), "raster, 16": ("raster", 16)}
    runs = {
        name: pipe.steps([3], order=order, steps=steps, seed=8, details=True)
        for name, (order, steps) in kinds.items()
    }
    return json.loads(json.dumps(frames.decoding(pipe, runs, "Two orders", "A note.")))


@pytest.fixture(scope="module")
def path(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("player") / "two.html"
    path.write_text(player.page("decoding", data, "two"), encoding="utf-8")
    return path


def step(page):
    return int(page.locator("step-player").get_attribute("data-step"))


def shown(page, lane=0):
    """Return which step a lane shows, by its heading, and the numbers of its marks."""
    section = page.locator("step-player section").nth(lane)
    canvas = section.locator(".board").first
    heading = section.locator(".head").inner_text()
    marks = canvas.locator("rect.new"), canvas.locator("rect.odd")
    return heading, *(mark.count() for mark in marks)


def odd(frame):
    return sum(2 * t < p for t, p in zip(frame["turn"], frame["p"], strict=True))


def expect(page, data, at):
    """Assert that both lanes show what the data hold of the step that is at `at`."""
    for lane, run in enumerate(data["runs"]):
        last = len(run["frames"]) - 1
        i = int(last * at / 15 + 0.5)
        frame, (heading, new, odds) = run["frames"][i], shown(page, lane)
        assert heading.startswith(
            f"step {i + 1} of {last + 1}: {len(frame['new'])} new"
        )
        assert (new, odds) == (len(frame["new"]), odd(frame))
        maps = page.locator("section").nth(lane).locator(".board").nth(1)
        assert maps.locator("rect.heat").count() == len(frame["open"])


def cell(page, position, lane=0):
    """Tap a cell of the canvas of a lane."""
    board = page.locator("section").nth(lane).locator(".board").first
    box = board.bounding_box()
    y, x = divmod(position, 8)
    at = {"x": box["width"] * (x + 0.5) / 8, "y": box["height"] * (y + 0.5) / 8}
    board.click(position=at)


def test_to_the_end_and_back_the_counts_are_those_of_the_data(open_page, path, data):
    page = open_page(path)
    for at in range(16):
        assert step(page) == at + 1
        expect(page, data, at)
        page.get_by_label("one step on").click()
    assert step(page) == 16, "behind the last step there is none"
    for at in reversed(range(15)):
        page.get_by_label("one step back").click()
        assert step(page) == at + 1
    expect(page, data, 0)


def test_the_slider(open_page, path, data):
    page = open_page(path)
    slider = page.get_by_role("slider")
    slider.fill("9")
    expect(page, data, 9)
    assert slider.get_attribute("aria-valuetext") == "step 10 of 16"
    slider.press("ArrowRight")
    assert step(page) == 11


def test_keys(open_page, path, data):
    page = open_page(path)
    for key, at in (
        ("ArrowRight", 2), (".", 3), ("ArrowLeft", 2), (",", 1), ("ArrowLeft", 1),
        ("End", 16), ("Home", 1),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert step(page) == at, key
    # on a board the arrows choose a cell, and the step stays
    page.locator(".board").first.focus()
    before = page.locator("rect.pick").first.get_attribute("x")
    page.keyboard.press("ArrowLeft")
    after = page.locator("rect.pick").first.get_attribute("x")
    assert float(after) == float(before) - 1 and step(page) == 1
    page.keyboard.press(".")
    assert step(page) == 2
    page.keyboard.press("Alt+ArrowLeft")
    assert step(page) == 2, "what a browser does with a key is left to it"


def test_beside_a_text_keys_outside_of_it_are_left_alone(open_page, path, tmp_path):
    text = path.read_text(encoding="utf-8")
    assert text.count("<body data-alone>") == 1
    beside = tmp_path / "beside.html"
    beside.write_text(text.replace("<body data-alone>", "<body>"), encoding="utf-8")
    page = open_page(beside)
    for key in ("ArrowRight", "End", " "):
        page.keyboard.press(key)
        assert step(page) == 1
    page.get_by_label("one step on").focus()
    page.keyboard.press("ArrowRight")
    assert step(page) == 2


def test_play_goes_to_the_end_and_stops(open_page, path, data):
    page = open_page(path, hash="#step=14")
    page.keyboard.press(" ")
    page.wait_for_selector("step-player[data-step='16']")
    page.get_by_label("play", exact=True).wait_for()
    expect(page, data, 15)


def test_a_tap_shows_the_probabilities_of_a_cell(open_page, path, data):
    page = open_page(path, hash="#step=6")
    run = data["runs"][0]
    frame = run["frames"][int(7 * 5 / 15 + 0.5)]
    for k in (0, len(frame["open"]) // 2, len(frame["open"]) - 1):
        cell(page, frame["open"][k])
        rows = page.locator("section").first.locator(".row")
        texts = [row.split("\n")[-1] for row in rows.all_inner_texts()]
        assert texts == [f"{p / 100:.1f} %" for p in frame["topp"][k]]
        says = page.locator("section").first.locator(".word").first.inner_text()
        assert f"{frame['bits'][k] / 100:.2f} bits of doubt" in says
        drawn = rows.locator("xpath=self::*[contains(@class,'drawn')]").count()
        was = frame["open"][k] in frame["new"]
        assert drawn <= was
        # both lanes are linked
        assert page.locator("rect.pick").count() == 4


def test_a_link_leads_to_a_step(open_page, path, data):
    page = open_page(path, hash="#step=7")
    expect(page, data, 6)
    page.evaluate("location.hash = 'step=12&cell=9&map=order'")
    page.wait_for_selector("step-player[data-step='12']")
    assert page.get_by_label("map").input_value() == "order"
    page.get_by_label("one step back").click()
    link = page.get_by_label("link to this step").get_attribute("href")
    assert "step=11" in link and "cell=9" in link and "map=order" in link
    again = open_page(path, hash=link)
    assert step(again) == 11
    for bad in ("#step=0", "#step=-3", "#step=x", "#cell=5000&step=2"):
        assert 1 <= step(open_page(path, hash=bad)) <= 2


def test_guess_and_reveal(open_page, path, data):
    page = open_page(path, hash="#step=9")
    frame = data["runs"][0]["frames"][int(7 * 8 / 15 + 0.5)]
    maps = page.locator("section").first.locator(".board").nth(1)
    page.get_by_label("guess first").check()
    assert maps.locator("rect.heat").count() == 0
    best = frame["open"][frame["bits"].index(max(frame["bits"]))]
    cell(page, best)
    assert page.locator("section").first.locator(".row").count() == 0
    page.get_by_role("button", name="reveal").click()
    assert maps.locator("rect.heat").count() == len(frame["open"])
    assert "was right" in page.locator("section").first.locator(".verdict").inner_text()
    page.get_by_label("one step on").click()
    assert maps.locator("rect.heat").count() == 0, "a new step asks anew"


def test_attention_is_shown_of_the_chosen_cell(open_page, path, data):
    page = open_page(path, hash="#step=8")
    i = int(7 * 7 / 15 + 0.5)
    frames_of = data["runs"][0]["frames"]
    known = sum(len(f["new"]) for f in frames_of[:i])
    cell(page, frames_of[i]["open"][0])
    maps = page.locator("section").first.locator(".board").nth(1)
    for kind in ("mean", "0"):
        page.get_by_label("map").select_option(kind)
        assert maps.locator("rect.heat").count() == known
    cell(page, frames_of[0]["new"][0])
    assert maps.locator("rect.heat").count() == 0, "a known cell asks nothing"


def test_it_tells_a_screen_reader(open_page, path):
    page = open_page(path, hash="#step=5")
    live = page.locator("[aria-live=polite]")
    assert "step 5 of 16" in live.text_content()
    page.keyboard.press("ArrowRight")
    assert "step 6 of 16" in live.text_content()
    for control in page.locator("step-player :is(button, input, select, a)").all():
        named = control.get_attribute("aria-label") or control.evaluate(
            "e => e.labels && e.labels[0] ? e.labels[0].textContent : e.textContent"
        )
        assert named.strip()
    for board in page.locator(".board").all():
        assert board.get_attribute("aria-label") and board.get_attribute("role")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_window(open_page, path, sideways, scheme):
    page = open_page(path, size=(320, 640), color_scheme=scheme, hash="#step=9")
    for kind in ("doubt", "mean", "order"):
        page.get_by_label("map").select_option(kind)
        assert sideways(page) == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_touch_and_reduced_motion(open_page, path):
    how = {"has_touch": True, "reduced_motion": "reduce"}
    page = open_page(path, size=(390, 800), hash="#step=3", **how)
    page.get_by_label("one step on").tap()
    assert step(page) == 4
    board = page.locator(".board").first
    board.tap(position={"x": 4, "y": 4})
    assert page.locator("rect.pick").first.get_attribute("x") == "0.05"


def test_without_javascript_the_storyboard_tells_the_story(open_page, path, sideways):
    page = open_page(path, java_script_enabled=False, size=(320, 640))
    figures = page.locator(".story figure")
    assert figures.count() == 10 and figures.first.is_visible()
    assert page.locator(".story svg image").count() == 10
    assert "bits of doubt" in figures.nth(1).inner_text()


def test_with_javascript_the_storyboard_makes_room(open_page, path):
    assert open_page(path).locator(".story").count() == 0


def test_the_other_kinds(open_page, tmp_path, sideways):
    aim = minigen.load("aim-mnist", backend="numpy")
    arinar = minigen.load("arinar-mnist", backend="numpy")
    state = frames.state(aim, 3, 3, {"hasty": 3, "patient": 1}, "State", "A note.")
    mixture = frames.mixture(arinar, 7, {"a": 62, "b": 18, "c": 52}, "Mixture", seed=5)
    for kind, made in (("state", state), ("mixture", mixture)):
        path = tmp_path / f"{kind}.html"
        path.write_text(player.page(kind, made, kind), encoding="utf-8")
        page = open_page(path, size=(320, 640))
        count = len(made["runs"][0]["frames"])
        page.keyboard.press("End")
        assert step(page) == count and sideways(page) == 0
        assert f"step {count} of {count}" in page.locator(".head").first.inner_text()
        answer = made["runs"][0]["frames"][-1]["answer"]
        assert answer in page.locator("step-player").inner_text()
        page.get_by_label("guess first").check()
        assert answer not in page.locator("step-player").inner_text()
        page.get_by_role("button", name="reveal").click()
        assert answer in page.locator("step-player").inner_text()


@pytest.mark.needs("greenlet")
def test_threads(open_page, tmp_path, sideways):
    import numpy as np

    from tests.simt_kernels import summed, without_barrier

    kernels = {"with": summed, "without": without_barrier}
    runs = {
        name: (kernel, 1, 4, np.ones(8, np.float32), np.zeros(1, np.float32))
        for name, kernel in kernels.items()
    }
    made = frames.threads(runs, "Threads", seed=3)
    path = tmp_path / "threads.html"
    path.write_text(player.page("threads", made, "threads"), encoding="utf-8")
    page = open_page(path, size=(320, 640))
    for at in range(max(len(run["frames"]) for run in made["runs"])):
        assert step(page) == at + 1
        for lane, run in enumerate(made["runs"]):
            frame = run["frames"][min(at, len(run["frames"]) - 1)]
            section = page.locator("section").nth(lane)
            assert frame["answer"].split("\n")[0] in section.inner_text()
            if frame["line"] is not None:
                line = run["code"][frame["line"]].strip()
                assert section.locator("pre .here").inner_text().strip() == line
        page.keyboard.press("ArrowRight")
    assert sideways(page) == 0
