"""The live model: what it draws in a browser is what NumPy draws.

Why can tokens be compared at all, though its sums are not in NumPy's order? A token is
where a uniform number, the same to the last bit in both, lies among cumulative sums of
probabilities. These differ by rounding, about 1e-5, and a uniform is seldom so close to
one of them. Where it is, both tokens are right: a near-tie, which the package knows by
a bound of the rounding (`minigen.sameness.near_ties`). The runs here are chosen by a
rule; where the tokens of one differ, the first that does must be such a near-tie, and
it is counted.
"""

import random
import re

import numpy as np
import pytest

import minigen
from lessons.live import build
from minigen import orders, plans, rng
from minigen.sameness import near_ties
from minigen.show import lesson

pytestmark = pytest.mark.needs("browser")

RUNS = 20
READY = "document.documentElement.dataset.ready === 'yes'"

DRAW = """run => {
  const {label, seed, known, tokens, groups, unknown, weights, causal} = run;
  const caches = model.begin(label);
  if (known.length) model.feed(caches, known, tokens, true);
  return groups.map((positions, index) => {
    const how = {seed, temperature: run.temperature, guidance: weights[index]};
    // a query sees no other, so all that is unknown is asked for in one call
    const all = step(model, caches, unknown[index], index, how);
    const drawn = positions.map(p => all.tokens[unknown[index].indexOf(p)]);
    model.feed(caches, positions, drawn, causal);
    return [drawn, all.probabilities.map(p => [...p])];
  });
}"""


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """The page, in a file."""
    path = tmp_path_factory.mktemp("live") / "live.html"
    path.write_bytes(build.page())
    return path


@pytest.fixture
def opened(open_page, live):
    """Return a function that opens the page and waits for its model."""

    def open_live(**how):
        page = open_page(live, **how)
        page.wait_for_function(READY)
        return page

    return open_live


def chosen(i, pipe):
    """Return the settings of run i: each by chance, and chance follows from i alone."""
    chance = random.Random(i)
    count = chance.choice([0, 0, 8, 32, 50])
    known = chance.sample(range(64), count)
    schedule, order = chance.choice(plans.FREE), chance.choice(sorted(orders.ORDERS))
    steps = chance.choice([1, 2, 4, 8, 16, 64])
    plan = minigen.plan(pipe.grid, order, schedule, steps, known, seed=i)
    digits = lesson.digits(str(build.HERE.parent / "digits.png"))
    canvas = np.full(64, -1)
    canvas[known] = pipe.encode(digits[i : i + 1]).ravel()[known]
    how = {
        "guidance": chance.choice([0.0, 1.0, 3.0, 6.0, 9.0]),
        "guidance_schedule": chance.choice(plans.GUIDANCE_SCHEDULES),
        "temperature": chance.choice([0.0, 0.5, 0.8, 1.0, 1.5]),
        "reading": chance.choice(["causal", "block"]),
    }
    return plan, canvas.reshape(1, *pipe.grid), chance.randint(-1, 9), how


def tie_of(pipe, step, i, at, token, temperature):
    """Return the Tie of a token, from the logits of NumPy's step."""
    more, p = step.details, step.positions[at]
    row = more.positions[0].tolist().index(p)
    c, u = more.conditional[0, row], more.unconditional[0, row]
    z = u + (c - u).astype(np.float64) * step.weight
    largest, cold = max(np.abs(c).max(), np.abs(u).max()), max(temperature, 1e-5)
    error = near_ties.rounding(pipe.config.layers) * near_ties.guided(step.weight)
    weights = near_ties.of_codes(z / cold, error * largest / cold, 0, 1.0)
    uniform = rng.uniforms(i, [0], step.index, [p])[0, 0]
    return near_ties.tie(weights, float(uniform), token)


def distances(step, i, p):
    """Return how far each uniform of a step is from the nearest cumulative sum (m).

    Also by how much these sums differ between NumPy and the page, whose probabilities
    are p (m v): where a uniform is farther away than that, both draw one token.
    """
    rows = step.probabilities[0].astype(np.float64), np.asarray(p)
    sums, others = (np.cumsum(row, axis=-1)[:, :-1] for row in rows)
    u = rng.uniforms(i, [0], step.index, step.positions)[0]
    return np.abs(sums - u[:, None]).min(-1), np.abs(sums - others).max(-1)


def compare(page, pipe, i, change=1.0):
    """Draw run i in NumPy and in the page, and return what was found.

    That is: tokens compared; near-ties that fell differently; draws whose uniform is no
    farther from a cumulative sum than the two sums differ; the largest difference of
    probabilities, of all unknown cells.

    change: what the page's guidance is multiplied by.
    """
    plan, canvas, label, how = chosen(i, pipe)
    steps = list(
        pipe.steps([label], seed=i, plan=plan, known=canvas, details=True, **how)
    )
    told = {
        "label": label, "seed": i, "temperature": how["temperature"],
        "causal": how["reading"] == "causal", "known": list(plan.known),
        "tokens": canvas.ravel()[list(plan.known)].tolist(),
        "groups": [step.positions.tolist() for step in steps],
        "unknown": [step.details.positions[0].tolist() for step in steps],
        "weights": [step.weight * change for step in steps],
    }  # fmt: skip
    compared, close, off = 0, 0, 0.0
    for step, (tokens, p) in zip(steps, page.evaluate(DRAW, told), strict=True):
        expected = step.tokens[0].tolist()
        off = max(off, np.abs(np.array(p) - step.details.probabilities[0]).max())
        asked = [step.details.positions[0].tolist().index(x) for x in step.positions]
        away, moved = distances(step, i, np.array(p)[asked])
        close += int((away <= moved).sum())
        for at, (token, other) in enumerate(zip(tokens, expected, strict=True)):
            if token != other:
                assert away[at] <= moved[at], "no sum lies between the two draws"
                tie = tie_of(pipe, step, i, at, token, how["temperature"])
                assert tie.near, f"run {i}, step {step.index}: {token}, not {other}"
        compared += len(tokens)
        if tokens != expected:
            # what follows has seen other tokens
            return compared, 1, close, off
    return compared, 0, close, off


def test_twenty_runs_are_those_of_numpy(opened, pipe):
    page = opened()
    found = [compare(page, pipe, i) for i in range(RUNS)]
    compared, ties, close, off = map(np.array, zip(*found, strict=True))
    print(
        f"{compared.sum()} tokens of {RUNS} runs, probabilities within "
        f"{off.max():.1e}; rounding could decide {close.sum()} of the draws, and "
        f"{ties.sum()} fell differently"
    )
    assert off.max() < 1e-4
    assert ties.sum() <= 1, "rounding decides a draw now and then, and not often"
    assert compared.sum() > 500


def test_the_runs_are_of_every_kind(pipe):
    found = [chosen(i, pipe) for i in range(RUNS)]
    plans_, _, labels, hows = zip(*found, strict=True)
    assert {how["reading"] for how in hows} == {"causal", "block"}
    assert {how["guidance_schedule"] for how in hows} == {*plans.GUIDANCE_SCHEDULES}
    assert len({how["guidance"] for how in hows}) >= 4
    assert len({how["temperature"] for how in hows}) >= 4
    assert {len(plan.known) > 0 for plan in plans_} == {True, False}
    assert len({len(plan.groups) for plan in plans_}) >= 5
    assert -1 in labels and len({*labels}) >= 6


def test_the_comparison_sees_a_wrong_model(opened, pipe):
    """With a guidance that is a hundredth off, probabilities are not within 1e-4."""
    i = next(i for i in range(RUNS) if sees_guidance(*chosen(i, pipe)))
    try:
        *_, off = compare(opened(), pipe, i, change=1.01)
    except AssertionError as error:
        assert f"run {i}, step" in str(error), "a token differs, and by no near-tie"
    else:
        assert off > 1e-4


def sees_guidance(plan, canvas, label, how):
    return label >= 0 and how["temperature"] > 0 and how["guidance"] > 1


def test_pictures_are_those_of_numpy(opened, pipe):
    """Within one step of 255, as a pixel is truncated: 127.5 v + 128 loses its
    fraction, and where it is nearly whole, rounding decides which side it falls."""
    page = opened()
    tokens = [np.random.default_rng(i).integers(0, 64, (8, 8)) for i in range(3)]
    digits = lesson.digits(str(build.HERE.parent / "digits.png"))
    tokens = np.stack([*tokens, *pipe.encode(digits[::5])])
    made = [page.evaluate("t => [...decode(t)]", t.ravel().tolist()) for t in tokens]
    off = np.abs(np.reshape(made, (-1, 32, 32, 3)) - pipe.decode(tokens).astype(int))
    print(f"{(off > 0).sum()} of {off.size} bytes differ, by {off.max()} at most")
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001


def test_plans_are_those_of_the_package(opened):
    page = opened()
    for schedule in plans.SCHEDULES:
        asked = [[n, steps] for n in range(1, 65) for steps in (1, 2, 3, 7, 16, 33, 64)]
        made = page.evaluate(
            "([name, asked]) => asked.map(([n, steps]) => counts(name, n, steps))",
            [schedule, asked],
        )
        for (n, steps), sizes in zip(asked, made, strict=True):
            expected = [size for size in plans.counts(schedule, n, steps) if size]
            assert sizes == expected, (schedule, n, steps)
    for seed in (0, 7, 2**64 - 1):
        made = page.evaluate("seed => permutation(BigInt(seed))", str(seed))
        assert made == orders.random(8, 8, seed)
        uniform = page.evaluate("seed => uniform(BigInt(seed), 3, 5)", str(seed))
        assert uniform == rng.uniforms(seed, [0], 3, [5])[0, 0]


def test_the_model_is_short():
    """At most 150 lines of at most 110 columns, without blank ones and comments."""
    text = (build.HERE / "arpg.js").read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S).splitlines()
    code = [line for line in code if line.strip() and not line.strip().startswith("//")]
    assert len(code) <= 150
    assert max(map(len, text.splitlines())) <= 110


def test_the_page_is_one_file_that_builds_alike(live):
    made = live.read_bytes()
    assert made == build.page()
    assert 5e6 < len(made) < 7e6
    assert not re.search(rb'(src|href)="(?!data:|index\.html)', made)


SHOWN = """() => ({
  known: known(), prompt: run.prompt.length, steps: run.steps.length,
  doubts: [...doubts].map(([p, doubt]) => [p, doubt.bits]), python: python(),
  says: document.getElementById("says").textContent,
})"""


def tap(page, *positions):
    for p in positions:
        page.locator("#board button").nth(p).click()


def slide(page, name, value):
    """Move a slider, or choose in a list, as a student would."""
    control = page.locator(f"[name={name}]")
    if control.evaluate("element => element.tagName") == "SELECT":
        control.select_option(str(value))
    else:
        control.fill(str(value))


def by_python(program):
    """Run the program that the page shows; return the tokens of its image, in rows."""
    said = {}
    assert program.count("print(") == 1
    exec(program.replace("print(", "said = ("), said)
    return said["said"]


def settled(page):
    page.wait_for_function(
        "!drawing && document.querySelector('#all').disabled === false"
    )


def test_taps_draw_what_the_program_shown_draws(opened):
    page = opened()
    begun = page.evaluate(SHOWN)
    bits = [bits for _, bits in begun["doubts"]]
    assert len(bits) == 64 and max(bits) - min(bits) < 1e-5, "the class answers alike"
    order = [27, 36, 0, 63, 20, 44]
    tap(page, *order)
    after = page.evaluate(SHOWN)
    assert [p for p, _ in after["known"]] == order
    bits = [bits for _, bits in after["doubts"]]
    assert len(bits) == 58 and max(bits) - min(bits) > 0.5, "and then they differ"
    assert "58 cells are unknown" in after["says"]
    drawn = by_python(after["python"])
    for p, token in after["known"]:
        assert drawn[divmod(p, 8)] == token
    page.click("#all")
    settled(page)
    done = page.evaluate(SHOWN)
    assert len(done["known"]) == 64 and not done["doubts"]
    expected = by_python(done["python"]).ravel()
    assert [expected[p] for p, _ in done["known"]] == [t for _, t in done["known"]]
    assert "All cells are known" in done["says"]


def test_what_the_page_begins_with_is_the_models_own(opened, pipe):
    page = opened()
    page.click("#all")
    settled(page)
    tokens = [*pipe.steps([7], seed=0)][-1].canvas.ravel().tolist()
    assert dict(page.evaluate("known()")) == dict(enumerate(tokens))


@pytest.mark.parametrize("reading", ["causal", "block"])
def test_inpainting_draws_what_the_program_shown_draws(opened, reading):
    page = opened()
    slide(page, "digit", 4)
    page.click("#lower")
    slide(page, "label", 3)
    slide(page, "guidance", 3)
    slide(page, "temperature", 1)
    slide(page, "seed", 2**63)
    slide(page, "guidance_schedule", "constant")
    slide(page, "reading", reading)
    slide(page, "order", "random")
    slide(page, "steps", 4)
    tap(page, 42)
    kept = page.evaluate("known().slice(0, 32)")
    page.click("#all")
    settled(page)
    done = page.evaluate(SHOWN)
    assert done["prompt"] == 32 and done["steps"] == 5 and len(done["known"]) == 64
    assert done["known"][:32] == kept, "what was known stays"
    expected = by_python(done["python"]).ravel()
    assert [expected[p] for p, _ in done["known"]] == [t for _, t in done["known"]]
    assert f'reading="{reading}"' in done["python"] and "seed=9223372" in done["python"]


def test_caches_that_catch_up_are_those_that_read_anew(opened):
    """After taps, erasing, a block and undoing, doubt is that of a fresh reading."""
    page = opened()
    tap(page, 3, 12, 60, 33)
    page.check("[value=erase]")
    tap(page, 12)
    page.check("[value=draw]")
    tap(page, 50)
    page.click("#undo")
    slide(page, "reading", "block")
    page.evaluate("draw_step([1, 2, 9]), ask_all()")
    tap(page, 18)
    cached = page.evaluate(SHOWN)
    page.evaluate("read = null, ask_all()")
    fresh = page.evaluate(SHOWN)
    assert [p for p, _ in cached["known"]] == [3, 60, 33, 1, 2, 9, 18]
    for (p, bits), (q, anew) in zip(cached["doubts"], fresh["doubts"], strict=True):
        assert p == q and abs(bits - anew) < 1e-4
    # the control: read one by one, the block's tokens say something else
    page.evaluate("run.steps.forEach(step => step.reading = 'causal'), ask_all()")
    other = page.evaluate(SHOWN)["doubts"]
    assert (
        max(abs(b[1] - a[1]) for b, a in zip(fresh["doubts"], other, strict=True))
        > 0.01
    )


def test_doubt_follows_guidance_and_temperature(opened):
    page = opened()
    tap(page, 27)
    mean = "[...doubts.values()].reduce((sum, doubt) => sum + doubt.bits, 0) / 63"
    found = []
    for temperature in (0, 0.5, 1, 2):
        slide(page, "temperature", temperature)
        found.append(page.evaluate(mean))
    assert found == sorted(found) and found[0] < 0.01 < 1 < found[-1]
    slide(page, "guidance_schedule", "constant")
    strong, weak = (
        (slide(page, "guidance", value), page.evaluate(mean))[1] for value in (6, 1)
    )
    assert strong != weak
    assert page.evaluate("known().length") == 1, "a setting draws nothing"


def test_a_tap_that_is_undone_draws_the_same_again(opened):
    page = opened()
    tap(page, 5, 27)
    first = page.evaluate("known()")
    page.click("#undo")
    assert page.evaluate("known()") == first[:1]
    tap(page, 27)
    assert page.evaluate("known()") == first
    page.click("#clear")
    assert page.evaluate("known().length + run.steps.length") == 0


def test_it_is_used_by_keyboard(opened):
    page = opened()
    page.locator("#board button[tabindex='0']").focus()
    focused = "document.activeElement.ariaLabel"
    assert page.evaluate(focused).startswith("Row 4, column 4: unknown, ")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert re.fullmatch(r"Row 3, column 5: code \d+", page.evaluate(focused))
    assert "Row 3, column 5: code" in page.text_content("#says")
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    assert [p for p, _ in page.evaluate("known()")] == [20, 16]
    page.keyboard.press("Delete")
    assert [p for p, _ in page.evaluate("known()")] == [20]
    assert "was erased" in page.text_content("#says")
    assert page.locator("#board button[tabindex='0']").count() == 1
    # the browser's own view of roles and names
    board = page.get_by_role("grid", name="Tokens of the picture")
    assert board.get_by_role("gridcell").count() == 64
    for name in ("Class", "Seed", "Guidance", "Temperature", "Order", "Schedule"):
        assert page.get_by_label(re.compile(f"^{name}")).count() >= 1, name
    assert page.get_by_role("status").count() == 1


def test_a_finger_taps_and_a_drag_erases(opened):
    page = opened(has_touch=True)
    page.locator("#board button").nth(9).tap()
    assert [p for p, _ in page.evaluate("known()")] == [9]
    slide(page, "digit", 0)
    page.check("[value=erase]")
    boxes = [page.locator("#board button").nth(p).bounding_box() for p in (0, 3)]
    (x0, y0), (x1, y1) = ((b["x"] + 9, b["y"] + 9) for b in boxes)
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=20)
    page.mouse.up()
    assert page.evaluate("unknown()") == [0, 1, 2, 3]


def test_it_fits_a_narrow_window(opened, sideways):
    page = opened(size=(320, 640))
    tap(page, 27)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert sideways(page) == 0
    side = page.locator("#board").bounding_box()
    assert abs(side["width"] - side["height"]) < 1 and side["width"] > 280


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_motion_is_shown_to_those_who_want_it(opened, motion):
    page = opened(reduced_motion=motion)
    page.evaluate(
        "let painted = 0; window.paints = () => painted;"
        "const before = draw_board; draw_board = () => { painted++; before(); }"
    )
    page.click("#all")
    settled(page)
    paints = page.evaluate("paints()")
    assert paints <= 3 if motion == "reduce" else paints >= 16


def test_dark_and_light_are_as_the_reader_has_it(opened):
    grounds = [
        opened(color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).background"
        )
        for scheme in ("light", "dark")
    ]
    assert "rgb(255, 255, 255)" in grounds[0] and "rgb(22, 22, 22)" in grounds[1]


def test_without_javascript_it_says_what_it_would_do(open_page, live, sideways):
    page = open_page(live, java_script_enabled=False, size=(320, 640))
    assert page.get_by_text("With JavaScript this page would draw").is_visible()
    picture = page.locator(".still img")
    assert picture.is_visible() and picture.bounding_box()["width"] > 200
    assert not page.locator("main").is_visible()
    assert sideways(page) == 0


def test_a_tap_is_answered_soon(opened):
    """Its doubt, and then its picture, in well under half a second of a free core."""
    page = opened()
    times = page.evaluate("""async () => {
      const found = [];
      for (const p of [27, 28, 35, 36, 20, 44]) {
        const start = performance.now();
        draw_cell(p);
        const doubt = performance.now() - start;
        decode(CELLS.map(() => 0));
        found.push([doubt, performance.now() - start]);
        await new Promise(go => setTimeout(go, 300));
      }
      return found;
    }""")
    doubt, both = np.median(times, axis=0)
    print(f"a tap: doubt after {doubt:.0f} ms, the picture after {both:.0f} ms")
    assert np.min(times, axis=0)[1] < 500
