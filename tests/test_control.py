"""Control through the public face: outlines in, digits out, recipes between."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import minigen
from minigen import arrays, backends, evaluate
from minigen.checkpoints import Model
from minigen.cli import app
from minigen.errors import InputError
from minigen.images import outline
from minigen.pipeline import Pipeline
from minigen.sameness import pack
from minigen.sameness.looking import look
from minigen.show import files
from minigen.show.recipe import from_json
from tests.models.stand_in import stand_in
from tests.test_recorded import CONFIG, PIXELS

NAME = "arpg-mnist-control"
FEW = {"steps": 3, "seed": 5}


@pytest.fixture(scope="module")
def pipe():
    return minigen.load(NAME, backend="numpy")


@pytest.fixture(scope="module")
def digits():
    return minigen.load("gpt-mnist", backend="numpy").sample([3, 0, 7], seed=1)


@pytest.fixture(scope="module")
def control(pipe, digits):
    return pipe.encode(outline(digits))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command line in an empty folder; return what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, status=0):
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == status, (result.output, result.exception)
        return result.stdout if status == 0 else result.output

    return run


def test_all_ways_to_draw_are_one(pipe, control):
    labels = [3, 0, 7]
    images = pipe.sample(labels, control=control, **FEW)
    assert np.array_equal(images, pipe.sample(labels, control=control, batch=2, **FEW))
    drawn = pipe.draw(labels, control=control, batch=1, **FEW)
    assert np.array_equal(images, drawn.images)
    *_, last = pipe.steps(labels, control=control, **FEW)
    assert np.array_equal(drawn.tokens, last.canvas)
    alone = pipe.sample([0], control=control[1:2], first=1, **FEW)
    assert np.array_equal(alone[0], images[1])
    other = pipe.sample(labels, control=control[::-1], **FEW)
    assert not np.array_equal(other, images)


def test_an_outline_serves_every_image(pipe, control):
    one = pipe.draw([3, 3], control=control[:1], **FEW)
    two = pipe.draw([3, 3], control=control[[0, 0]], **FEW)
    assert np.array_equal(one.images, two.images) and one.recipe == two.recipe


def test_a_part_of_an_image_follows_an_outline(pipe, digits, control):
    mask = np.zeros((32, 32), bool)
    mask[16:] = True
    drawn = pipe.inpaint(digits[0], mask, 3, control=control[:1], count=2, **FEW)
    known = pipe.encode(digits[:1])[0, :4]
    assert (drawn.tokens[:, :4] == known).all()


def test_a_saved_picture_is_drawn_again(pipe, control, run):
    drawn = pipe.draw([3, 0, 7], control=control, **FEW)
    pipe.save(drawn, "a.png")
    assert "the same" in run("replay", "a.png")
    stored = files.read_header("a.png")[0]
    assert from_json(stored).control == drawn.recipe.control
    image = files.read_png("a.png")[0]
    unknown = pack(np.full((3, 8, 8), -1))
    for field, said in (
        (None, "none were given"), ("x", "its field 'control'"), (7, "control"),
        (pack(control[:2]), "its field 'control'"), (unknown, "-1 .. -1"),
    ):  # fmt: skip
        files.write_png("b.png", image, {**stored, "control": field})
        assert said in run("replay", "b.png", status=2)


@pytest.mark.parametrize("order", ["halton", "random-each", "confidence"])
def test_a_step_is_looked_at_with_its_control(pipe, control, order):
    """What `replay` does where a token differs: it draws that image again."""
    drawn = pipe.draw([3, 0, 7], control=control, order=order, **FEW)
    plan = pipe.plan(order, steps=FEW["steps"], seed=FEW["seed"])
    for image in range(3):
        seen = look(pipe, plan, drawn.recipe, image, 2)
        tokens = drawn.tokens[image].reshape(-1)
        assert (seen.step.tokens == tokens[seen.step.positions]).all()


def test_a_recipe_without_control_is_as_short_as_before(tmp_path):
    plain = minigen.load("arpg-mnist", backend="numpy")
    plain.save(plain.draw([7], steps=2), tmp_path / "a.png")
    assert "control" not in files.read_header(tmp_path / "a.png")[0]


def test_the_command_line_takes_the_picture_of_an_outline(pipe, digits, control, run):
    Image.fromarray(outline(digits[0])).save("line.png")
    Image.fromarray(outline(digits[0])[..., 0]).save("grey.png")
    sample = ("sample", NAME, "-c", "3,5", "--steps", "3", "--seed", "5")
    run(*sample, "--control", "line.png", "--out", "a.png", "--backend", "numpy")
    sheet, recipe = files.read_png("a.png")
    expected = pipe.draw([3, 5], control=control[:1], **FEW)
    assert recipe["control"] == expected.recipe.control
    assert np.array_equal(sheet[:32, :32], expected.images[0])
    Path("line.png").unlink()
    assert "the same" in run("replay", "a.png")
    run("steps", *sample[1:], "--control", "grey.png", "--gif", "a.gif", "--json")


def test_what_cannot_be_is_refused(digits, run):
    Image.fromarray(outline(digits[0])).save("line.png")
    Image.fromarray(outline(digits[0])[2:-2, 2:-2]).save("small.png")
    Path("text").write_text("edges")
    draw = ("sample", NAME, "-c", "3", "--out", "a.png")
    for arguments, said in (
        (draw, "none were given"),
        ((*draw, "--control", "small.png"), "small.png is 28 x 28 pixels; expected 32"),
        ((*draw, "--control", "text"), "text cannot be read as a PNG"),
        ((*draw, "--control", "none.png"), "there is no file none.png"),
        (("steps", NAME, "-c", "3"), "none were given"),
        (("evaluate", NAME), "give --data DIR"),
        (("evaluate", "arpg-mnist", "--data", "."), "--data has no meaning"),
        *(
            (("sample", name, "-c", "3", "--control", "line.png"), "takes none")
            for name in ("arpg-mnist", "gpt-mnist", "mar-mnist")
        ),
    ):
        assert said in run(*arguments, "--backend", "numpy", status=2)
    assert not Path("a.png").exists()


def test_python_refuses_the_same(pipe, control):
    plain = minigen.load("arpg-mnist", backend="numpy")
    calls = (
        (lambda: pipe.sample([3]), "none were given"),
        (lambda: pipe.steps([3]), "none were given"),
        (lambda: pipe.draw([3]), "none were given"),
        (lambda: pipe.sample([3], control=control), r"\(3, 8, 8\) .* \(1, 8, 8\)"),
        (lambda: pipe.sample([3], control=outline(control[0])), "shape"),
        (lambda: plain.sample([3], control=control[:1]), "takes none"),
        (lambda: plain.draw([3], control=control[:1]), "takes none"),
    )
    for call, said in calls:
        with pytest.raises((InputError, minigen.errors.ShapeError), match=said):
            call()


@pytest.mark.needs("compiler")
def test_a_recorded_run_follows_another_control():
    """On a device: launched, recorded, replayed with other condition tokens."""
    config, device = replace(CONFIG, control=5), arrays.Ptx()

    def pipeline(name, device=None):
        ops = backends.table(name, device)
        trees = ((each, stand_in(each)) for each in (config, PIXELS))
        models = (Model(c, backends.move(ops, w), Path(name)) for c, w in trees)
        return Pipeline(*models, name, ops)

    there, here = pipeline("ptx", device), pipeline("numpy")
    launches = []
    for seed in range(4):
        asked = np.random.default_rng(seed).integers(0, 5, (1, 1, 3))
        call = {"control": asked, "grid": (1, 3), "steps": 1, "guidance": 3.0}
        before = device.launches
        images = there.sample([seed % 3], **call)
        launches.append(device.launches - before)
        expected = here.sample([seed % 3], **call)
        assert abs(images.astype(int) - expected.astype(int)).max() <= 1
    (one,) = there.recorded.values()
    # launched; launched and recorded; replayed from then on
    assert launches == [len(one.recording) * times for times in (1, 2, 1, 1)]


lines = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=9)


def drawn(points):
    image = np.zeros((1, 6, 6, 3), np.uint8)
    for y, x in points:
        image[0, y, x] = 255
    return image


@given(lines, lines)
def test_an_overlap_is_dices_coefficient(one, other):
    a, b = {*one}, {*other}
    expected = 2 * len(a & b) / (len(a) + len(b)) if a or b else 1
    assert evaluate.overlap(drawn(a), drawn(b)) == pytest.approx(expected)
    pair = np.concatenate([drawn(a), drawn(b)])
    mean = (expected + 1) / 2
    assert evaluate.overlap(pair, drawn(b).repeat(2, 0)) == pytest.approx(mean)


def test_outlines_that_are_followed_agree_with_none_but_their_own(pipe, digits):
    """The figures of `minigen evaluate --data`: of the digits themselves."""
    found = evaluate.agreement_of_outlines(digits, digits, digits)
    assert found["outline"] == found["outline_rebuilt"] == 1
    assert found["outline_of_next"] < 0.5
    classifier = evaluate.load_judge(backend="numpy")
    call = pipe, classifier
    given = digits, np.array([3, 0, 7])
    row = evaluate.evaluate_generator(*call, 3, digits=given, steps=16)
    assert row["images"] == 3 and row["outline_rebuilt"] > 0.8
    assert row["outline"] > row["outline_of_next"] + 0.1
    with pytest.raises(InputError, match="4 is more than the 3 digits"):
        evaluate.evaluate_generator(*call, 4, digits=given)
    with pytest.raises(InputError, match="none were given"):
        evaluate.evaluate_generator(*call, 3)
