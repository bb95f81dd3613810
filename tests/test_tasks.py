"""Known tokens through the public face: laws of inpainting and of its relatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import minigen
from minigen import arrays, drawing, plans, tasks
from minigen.cli import app
from minigen.errors import InputError, ShapeError
from minigen.orders import ORDERS
from minigen.show import files
from tests.test_recorded import CONFIG, pipeline

ANY_ORDER = ("arpg-mnist", "arinar-mnist")
RASTER = ("gpt-mnist", "aim-mnist")
FACTOR, SIDE = 4, 32
QUICK = {"arinar-mnist": {"steps": 2, "guidance": 1.0}, "arpg-mnist": {"steps": 3}}


@pytest.fixture(scope="module")
def pipes():
    names = (*ANY_ORDER, *RASTER)
    return {name: minigen.load(name, backend="numpy") for name in names}


@pytest.fixture(scope="module")
def pipe(pipes):
    return pipes["arpg-mnist"]


@pytest.fixture(scope="module")
def digit(pipe):
    return pipe.sample([7], seed=4, steps=16)[0]


@st.composite
def masks(draw, least=1):
    """Masks (y x) that mark a few boxes of pixels."""
    mask = np.zeros((SIDE, SIDE), bool)
    for _ in range(draw(st.integers(least, 3))):
        (y0, y1), (x0, x1) = (
            sorted(draw(st.tuples(*[st.integers(0, SIDE - 1)] * 2))) for _ in range(2)
        )
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def below(row):
    """Return a mask of everything from a row of pixels on."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[row:] = True
    return mask


def cells(mask):
    """Return the squares of pixels (y x) that a mask touches."""
    n = SIDE // FACTOR
    touched = mask.reshape(n, FACTOR, n, FACTOR).any((1, 3))
    return touched.repeat(FACTOR, 0).repeat(FACTOR, 1)


@given(
    masks(), st.sampled_from([*ORDERS]), st.sampled_from(plans.SCHEDULES),
    st.integers(1, 64),
)  # fmt: skip
def test_a_plan_partitions_what_a_mask_hides(pipe, mask, order, schedule, steps):
    task = tasks.inpainting(np.zeros((SIDE, SIDE, 3), np.uint8), mask, FACTOR)
    steps = None if schedule == "one" else steps
    plan = pipe.plan(order, schedule, steps, seed=3, known=task.known)
    assert sorted(plan.known + plan.order) == list(range(64))
    assert {*plan.order} == {*np.flatnonzero(task.redrawn).tolist()}
    assert all(plan.groups)
    assert np.array_equal(cells(mask), task.redrawn.repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize("name", ANY_ORDER)
@settings(max_examples=5)
@given(mask=masks(), paste=st.booleans(), seed=st.integers(0, 2**64 - 1))
def test_known_tokens_and_pasted_pixels_stay(pipes, digit, name, mask, paste, seed):
    pipe = pipes[name]
    drawn = pipe.inpaint(digit, mask, 3, paste=paste, seed=seed, **QUICK[name])
    redrawn = cells(mask)[::FACTOR, ::FACTOR]
    tokens = pipe.encode(digit[None])[0]
    assert np.array_equal(drawn.tokens[0][~redrawn], tokens[~redrawn])
    whole = pipe.decode(drawn.tokens)[0]
    assert np.array_equal(drawn.images[0][mask], whole[mask])
    kept = digit if paste else whole
    assert np.array_equal(drawn.images[0][~mask], kept[~mask])


@pytest.mark.parametrize("name", RASTER)
def test_a_raster_model_completes_a_prefix_and_says_why_nothing_else(
    pipes, digit, name
):
    pipe = pipes[name]
    drawn = pipe.inpaint(digit, below(18), 3, count=2)
    tokens = pipe.encode(digit[None])[0]
    assert (drawn.tokens[:, :4] == tokens[:4]).all()
    assert (drawn.tokens[0, 4:] != drawn.tokens[1, 4:]).any()
    with pytest.raises(InputError, match="position 0 is unknown while 63 is known"):
        pipe.inpaint(digit, ~below(18), 3)


@pytest.mark.parametrize("name", (*ANY_ORDER, *RASTER))
def test_nothing_unknown_is_the_reconstruction(pipes, digit, name):
    pipe = pipes[name]
    tokens = pipe.encode(digit[None])
    assert list(pipe.steps([3], known=tokens)) == []
    assert np.array_equal(pipe.sample([3], known=tokens), pipe.decode(tokens))
    drawn = pipe.draw([3, 4], known=tokens[0])
    assert np.array_equal(drawn.tokens, tokens.repeat(2, 0))


@pytest.mark.parametrize("name", (*ANY_ORDER, *RASTER))
def test_nothing_known_is_plain_sampling(pipes, digit, name):
    pipe, how = pipes[name], {"seed": 5, "first": 2, **QUICK.get(name, {})}
    plain = pipe.sample([3, 3], **how)
    everything = np.ones((SIDE, SIDE), bool)
    for paste in (False, True):
        drawn = pipe.inpaint(digit, everything, 3, count=2, paste=paste, **how)
        assert np.array_equal(drawn.images, plain)
    blank = np.full_like(drawn.tokens, pipe.kind.UNKNOWN)
    assert np.array_equal(pipe.sample([3, 3], known=blank, **how), plain)
    assert np.array_equal(pipe.expand(3, pipe.grid, count=2, **how).images, plain)


@settings(max_examples=5)
@given(mask=masks(), image=st.integers(0, 3), batch=st.integers(1, 4))
def test_alone_as_in_a_batch(pipe, digit, mask, image, batch):
    how = {"seed": 9, "steps": 3}
    many = pipe.edit(digit, mask, 2, count=4, batch=batch, **how)
    one = pipe.edit(digit, mask, 2, first=image, **how)
    assert np.array_equal(many.tokens[image], one.tokens[0])
    assert np.array_equal(many.images[image], one.images[0])


def test_every_image_may_know_other_tokens(pipe):
    first, second = pipe.encode(pipe.sample([3, 7], seed=4))
    known = np.stack([first, second, first])
    known[:, 3:] = -1
    how = {"seed": 1, "steps": 4}
    together = pipe.draw([3, 7, 3], known=known, batch=2, **how)
    assert (together.tokens[:, :3] == known[:, :3]).all()
    for i in range(3):
        alone = pipe.sample([(3, 7, 3)[i]], known=known[i], first=i, **how)
        assert np.array_equal(together.images[i], alone[0])


def test_a_plan_of_ones_own(pipe):
    """Other groups, and another order of reading what is known."""
    known = pipe.encode(pipe.sample([7], seed=4))[0]
    known[4:] = -1
    plan = plans.Plan(
        (8, 8), (range(63, 40, -1), range(32, 41)), tuple(range(31, -1, -1))
    )
    seen = list(pipe.steps([7], plan=plan, known=known))
    assert [len(s.positions) for s in seen] == [23, 9]
    drawn = pipe.draw([7], plan=plan, known=known)
    assert np.array_equal(drawn.tokens, seen[-1].canvas)
    assert drawn.recipe.read == plan.known and drawn.recipe.schedule == (23, 9)


@pytest.mark.parametrize("grid", [(8, 16), (12, 12), (3, 9)])
def test_a_model_draws_on_other_grids(pipe, grid):
    drawn = pipe.expand(3, grid, steps=4)
    assert drawn.images.shape == (1, 4 * grid[0], 4 * grid[1], 3)
    assert np.array_equal(pipe.sample([3], grid=grid, steps=4), drawn.images)
    with pytest.raises(InputError, match="has learned the positions"):
        minigen.load("mar-mnist", backend="numpy").expand(3, grid)


def test_outpainting_puts_the_image_where_it_is_asked_for(pipe, digit):
    part = digit[8:24, 8:24]
    tokens = pipe.encode(part[None])[0]
    how = {"steps": 3, "paste": True}
    middle = pipe.outpaint(part, 7, grid=(8, 8), **how)
    assert np.array_equal(middle.tokens[0, 2:6, 2:6], tokens)
    assert np.array_equal(middle.images[0, 8:24, 8:24], part)
    assert np.array_equal(pipe.outpaint(part, 7, 8, **how).images, middle.images)
    wide = pipe.outpaint(part, 7, (0, 4, 8, 0), **how)
    assert wide.images.shape == (1, 20, 24, 3)
    assert np.array_equal(wide.images[0, :16, 8:], part)


def test_progress_counts_the_steps_of_all_batches(pipe):
    heard = []
    pipe.draw([3, 4, 5], steps=4, batch=2, progress=lambda *n: heard.append(n))
    assert heard == [(i, 8) for i in range(1, 9)]


@pytest.mark.needs("compiler")
def test_a_recorded_run_knows_other_tokens():
    """On a device: launched, recorded, replayed with other tokens, elsewhere."""
    device = arrays.Ptx()
    there, here = pipeline(device), pipeline()
    runs = [([4, 9, -1], 1), ([-1, 3, 5], 2), ([7, -1, 0], 0), ([-1, -1, 2], 1)]
    launches = []
    for known, label in runs:
        call = {"known": np.array([known]), "grid": (1, 3), "steps": 1, "guidance": 3.0}
        before = device.launches
        images = there.sample([label], **call)
        launches.append(device.launches - before)
        expected = here.sample([label], **call)
        assert abs(images.astype(int) - expected.astype(int)).max() <= 1
    one, other = there.recorded.values()
    assert launches[:3] == [len(one.recording) * times for times in (1, 2, 1)]
    # another number of known tokens is another run
    assert other == "seen" and CONFIG.vocabulary > 9


@pytest.mark.parametrize("paste", [False, True])
def test_a_saved_picture_is_drawn_again(pipe, digit, tmp_path, paste):
    path = tmp_path / "a.png"
    drawn = pipe.inpaint(digit, below(14), 3, count=3, steps=3, paste=paste)
    pipe.save(drawn, path, columns=2, scale=2)
    result = CliRunner().invoke(app, ["replay", str(path)])
    assert result.exit_code == 0 and "all 17424 pixels are the same" in result.output
    stored = files.read_header(path)[0]
    assert ("paste" in stored) == paste and "grid" not in stored


def test_a_recipe_without_a_task_is_as_short_as_before(pipe, tmp_path):
    pipe.save(pipe.draw([7], steps=2), tmp_path / "a.png")
    stored = files.read_header(tmp_path / "a.png")[0]
    assert not {*stored} & {"grid", "known", "read", "paste"}
    with pytest.raises(InputError, match="should end in .png"):
        pipe.save(pipe.draw([7], steps=2), tmp_path / "a.gif")


WHOLE, NONE = np.ones((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
KNOWN = np.full((2, 8, 8), -1)
DIFFER, OUTSIDE, SOME = KNOWN.copy(), KNOWN.copy(), KNOWN.copy()
DIFFER[1, 2, 3] = OUTSIDE[:, 0, 0] = 5
OUTSIDE[:, 0, 1] = 64
SOME[:, 0] = 3
PLAN = plans.plan((8, 8), "raster", "one")
WRONG = {
    "a mask of another size": (
        lambda p, x: p.inpaint(x, WHOLE[1:], 3), r"shape \(31, 32\).*\(32, 32\)"),
    "a mask of numbers": (lambda p, x: p.inpaint(x, WHOLE * 255, 3), "mask > 127"),
    "a mask that hides nothing": (lambda p, x: p.inpaint(x, NONE, 3), "hides nothing"),
    "an image of floats": (lambda p, x: p.edit(x / 255, WHOLE, 3), "expected uint8"),
    "a grey image": (lambda p, x: p.edit(x[..., 0], WHOLE, 3), r"expected \(b, y, x"),
    "an image of half tokens": (
        lambda p, x: p.inpaint(x[:30], WHOLE[:30], 3), "multiples of 4"),
    "a class out of range": (lambda p, x: p.inpaint(x, WHOLE, 10), "class 10"),
    "no answers": (lambda p, x: p.inpaint(x, WHOLE, 1, count=0), "count 0"),
    "a misspelt order": (lambda p, x: p.edit(x, WHOLE, 1, order="halten"), "halton"),
    "no border": (lambda p, x: p.outpaint(x, 1), "border in pixels, or the grid"),
    "both": (lambda p, x: p.outpaint(x, 1, 4, grid=(9, 9)), "one of the two"),
    "a border of half tokens": (lambda p, x: p.outpaint(x, 1, 6), "border .*of 4"),
    "a border of nothing": (lambda p, x: p.outpaint(x, 1, 0), "border .* more than 0"),
    "three borders": (lambda p, x: p.outpaint(x, 1, (4, 4, 4)), "border"),
    "a grid too small": (lambda p, x: p.outpaint(x, 1, grid=(8, 4)), "nothing to draw"),
    "a huge grid": (lambda p, x: p.expand(1, (1000, 1000)), "1000 x 1000 has 1000000"),
    "a grid of one number": (lambda p, x: p.expand(1, 8), "grid 8"),
    "known of another grid": (
        lambda p, x: p.sample([1], known=KNOWN[0, :4]), r"shape \(4, 8\).*8 x 8"),
    "known of other images": (
        lambda p, x: p.sample([1], known=KNOWN), r"shape \(2, 8, 8\), and 1 images"),
    "known that is not the same": (
        lambda p, x: p.sample([1, 2], known=DIFFER), "row 2, column 3 .* 0 and 1"),
    "known out of range": (
        lambda p, x: p.sample([1, 2], known=OUTSIDE), "lie in -1 .. 64.* 0 .. 63"),
    "known of floats": (lambda p, x: p.sample([1], known=KNOWN[0] * 0.5), "float64"),
    "known beside a plan of nothing known": (
        lambda p, x: p.sample([1, 2], plan=PLAN, known=SOME), "position 0 is known in"),
    "a plan that knows, and no tokens": (
        lambda p, x: p.sample([1], plan=p.plan(known=[5])), "position 5 is known in a"),
    "a plan of another grid": (
        lambda p, x: p.sample([1], plan=PLAN, grid=(4, 4)), r"grid \(4, 4\) is given"),
    "a plan of another grid than the image's": (
        lambda p, x: p.inpaint(x[:16], WHOLE[:16], 1, plan=PLAN), "grid .* is given"),
    "a plan beside steps": (
        lambda p, x: p.draw([1], plan=PLAN, steps=3), "steps 3 is given beside a plan"),
    "a plan beside an order": (
        lambda p, x: p.steps([1], plan=PLAN, order="raster"), "'raster' is given"),
    "a plan with holes": (
        lambda p, x: p.sample([1], plan=plans.Plan((8, 8), ((1, 2),))), "62 positions"),
    "a plan that is none": (lambda p, x: p.sample([1], plan="raster"), "is none"),
    "known twice": (lambda p, x: p.plan(known=[3, 3]), "position 3 more than once"),
    "images alone": (lambda p, x: p.save(x, "a.png"), "ndarray is no drawing"),
}  # fmt: skip


@pytest.mark.parametrize("call, said", WRONG.values(), ids=WRONG)
def test_bad_input_is_refused_with_value_and_remedy(
    pipe, digit, monkeypatch, call, said
):
    if "gif" not in said and "png" not in said:
        monkeypatch.setattr(
            "minigen.sample.decode", lambda *_, **__: pytest.fail("drawn")
        )
    with pytest.raises((InputError, ShapeError), match=said):
        call(pipe, digit)


def test_vectors_are_known_wholly_or_not_at_all(pipes):
    pipe = pipes["arinar-mnist"]
    known = np.full((8, 8, 4), np.nan, np.float32)
    known[0, 0, 1:] = 1
    for wrong, said in ((known, "all of them NaN"), (known[..., :3], "4 features")):
        with pytest.raises((InputError, ShapeError), match=said):
            pipe.sample([1], known=wrong)


def test_a_misspelt_setting_is_an_error_of_the_call(pipe, digit):
    calls = (
        lambda how: pipe.draw([7], **how), lambda how: pipe.expand(7, (8, 8), **how),
        lambda how: pipe.inpaint(digit, WHOLE, 7, **how),
        lambda how: pipe.outpaint(digit, 7, 4, **how),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(TypeError, match="'guidence'"):
            call({"guidence": 4.0})


def test_settings_are_those_of_sample(pipe):
    import inspect

    taken = {*inspect.signature(pipe.sample).parameters} - {"labels", "known", "grid"}
    assert taken == {*drawing.Settings.__annotations__}


@pytest.mark.parametrize("how", tasks.FITS)
@given(st.integers(1, 50), st.integers(1, 50), st.tuples(*[st.integers(1, 50)] * 2))
def test_a_picture_of_any_size_is_fitted(how, y, x, size):
    image = np.full((y, x, 3), 200, np.uint8)
    mask = np.zeros((y, x), bool)
    fitted, marked = tasks.fit(image, mask, size, how)
    assert fitted.shape == (*size, 3) and marked.shape == size
    # what is not the picture is marked, and only that
    assert (fitted[~marked] == 200).all() and (fitted[marked] == 0).all()
    assert how == "pad" or not marked.any()
    assert not marked.all()
    assert tasks.fit(image, ~mask, size, how)[1].all()


def test_a_mark_survives_a_smaller_size():
    image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
    mask[37, 11] = True
    for how in tasks.FITS:
        _, marked = tasks.fit(image, mask, (32, 32), how)
        assert np.argwhere(marked).tolist() == [[18, 5]]


def test_parts_are_kept_by_name():
    for part, where in (
        ("top", np.s_[:2]), ("bottom", np.s_[3:]), ("left", np.s_[:, :3]),
        ("right", np.s_[:, 3:]), ("centre", np.s_[1:4, 1:5]),
    ):  # fmt: skip
        expected = np.ones((5, 6), bool)
        expected[where] = False
        assert np.array_equal(tasks.keep(part, (5, 6)), expected), part


@pytest.mark.parametrize("corners", [(0, 0, 0, 4), (0, 0, 33, 4), (4, 4), (0, 9, 9, 2)])
def test_a_box_marks_pixels_of_the_image(corners):
    with pytest.raises(InputError, match="box .* marks nothing, or more than"):
        tasks.box(corners, (SIDE, SIDE))
