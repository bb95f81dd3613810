"""What is asked is what is done, or refused: before anything is loaded or expanded."""

from dataclasses import fields, replace

import numpy as np
import pytest
from typer.testing import CliRunner

import minigen
from minigen import backends, checks, options, plans, rng, sample
from minigen.checkpoints import convert
from minigen.cli import app
from minigen.commands.options import parse_classes, read_labels
from minigen.errors import CheckpointError, InputError, MinigenError, ShapeError
from minigen.evaluate import evaluate_generator
from minigen.families import PRESETS, AimConfig, ArpgConfig
from tests.models.stand_in import stand_in
from tests.test_masked import CONFIGS as MASKED

ALL = ("arpg-mnist", "gpt-mnist", "aim-mnist", "arinar-mnist", "mar-mnist")
WRONG = (2.5, float("nan"), float("inf"), "2", "", None, True, [2], (), {}, b"2", 2j)
WHOLE = ("seed", "first", "batch", "top_k")


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", (*WRONG, -1, 2.0, np.float64(2), np.True_))
def test_a_whole_number_is_a_whole_number(pipe, name, value):
    with pytest.raises(InputError, match=f"{name} .* is not an integer of "):
        pipe.sample([7], steps=1, **{name: value})


def test_a_number_of_very_many_digits_is_shown_as_such(pipe):
    for name in ("seed", "first", "top_k", "steps", "guidance"):
        with pytest.raises(InputError, match="of very many digits"):
            pipe.steps([7], **{name: 10**5000})


@pytest.mark.parametrize("name", ("guidance", "temperature", "top_p"))
@pytest.mark.parametrize("value", (*WRONG[1:], 1e39, np.True_, np.ones(2)))
def test_a_number_is_a_finite_number(pipe, name, value):
    if value is None and name != "top_p":
        return
    with pytest.raises(InputError, match=f"{name} .* is not a finite number"):
        pipe.sample([7], steps=1, **{name: value})


@pytest.mark.parametrize(
    "name, value",
    [("steps", 0), ("steps", 2**16 + 1), ("steps", 2.0), ("steps", True),
     ("guided_steps", 0), ("guided_steps", 1.5), ("temperature", -0.1),
     ("top_p", 1.5), ("top_p", -0.1), ("top_k", 2**31)],
)  # fmt: skip
def test_a_range_is_kept(pipe, name, value):
    with pytest.raises(InputError, match=f"{name} .* is not an? "):
        pipe.steps([7], **{name: value})


def test_numbers_of_numpy_are_numbers(pipe):
    plain = pipe.sample([7], seed=3, steps=2, top_k=5, temperature=0.5, first=4)
    given = pipe.sample(
        np.array([7], np.uint8), seed=np.uint64(3), steps=np.int8(2), top_k=np.int64(5),
        temperature=np.float16(0.5), first=np.int32(4), batch=np.int64(2),
    )  # fmt: skip
    assert np.array_equal(plain, given)
    how = options.Options(guidance=np.float32(2), top_k=np.int64(5))
    assert (type(how.guidance), type(how.top_k)) == (float, int)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda p: p.plan(order="halten"), "did you mean halton"),
        (lambda p: p.plan(schedule="arcos"), "did you mean arccos"),
        (lambda p: p.options(guidance_schedule="liner"), "did you mean linear"),
        (lambda p: p.options(positions="relesed"), "did you mean released"),
        (lambda p: p.options(guided_draw="gird"), "did you mean grid"),
        (lambda p: minigen.load("arpg-mnsit"), "did you mean arpg-mnist"),
        (lambda p: minigen.load("arpg-mnist", "vq-mnst"), "did you mean vq-mnist"),
        (lambda p: minigen.load("arpg-mnist", backend="nunpy"), "did you mean numpy"),
        (lambda p: backends.table("nunba"), "did you mean numba"),
        (lambda p: convert("a", "b", dtype="float23"), "did you mean float32"),
        (lambda p: convert("a", "b", family="arpq"), "did you mean arpg"),
        (lambda p: convert("a", "b", behaviour="haed"), "did you mean head"),
    ],
)
def test_what_is_misspelt_gets_the_near_name(pipe, call, said):
    with pytest.raises(MinigenError, match=said):
        call(pipe)


@pytest.mark.needs("hypothesis")
@pytest.mark.needs("numba")
@pytest.mark.parametrize(
    "op, how, said",
    [
        ("rms_nrom", {}, "did you mean rms_norm"),
        ("guide", {"backend": "interprter"}, "mean interpreter"),
        ("guide", {"weights": "float61"}, "did you mean float"),
    ],
)
def test_what_is_misspelt_for_a_check_gets_the_near_name(op, how, said):
    with pytest.raises(MinigenError, match=said):
        minigen.check(op, **how)


@pytest.mark.parametrize(
    "model", (5, None, b"arpg", ["arpg-mnist"], "", "a\0b", "\ud800")
)
def test_a_model_is_a_name_or_a_path(model):
    with pytest.raises(InputError, match="model"):
        minigen.load(model)
    if model is not None:
        with pytest.raises(InputError, match="model"):
            minigen.load("arpg-mnist", tokenizer=model)


def test_a_pipe_or_a_device_is_no_model(tmp_path):
    import os

    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero", "x" * 5000):
        with pytest.raises(InputError):
            minigen.load(path)


@pytest.mark.parametrize(
    "labels",
    ([], "7", "777", [7.0], [True, 3], np.array([True]), [[7]], [None], {7}, None,
     np.array([7.0]), range(10**12), range(0, -5, -1), np.zeros((1, 1), int), [10], -2),
)  # fmt: skip
def test_labels_are_class_numbers(pipe, labels):
    for call in (pipe.sample, pipe.steps):
        with pytest.raises(InputError, match="class|labels"):
            call(labels, steps=1)


def test_a_range_of_classes_is_checked_by_its_ends():
    config = PRESETS["arpg-mnist"]
    assert parse_classes(["0-999999999"]) == [range(10**9)]
    for given, count in (("0-999999999", 1), ("9-10", 1), ("0-9", 10**9), ("3", 10**8)):
        with pytest.raises(InputError, match="0 .. 9|pixels"):
            read_labels([given], config, count)
    for given in ("3-", "-3", "3-4-5", "", ",", "3,", "1e3", "²", "0x3", "3 4", "9-0"):
        with pytest.raises(InputError, match="--class"):
            parse_classes([given])
    assert read_labels(["3, 7", "0-1"], config, 2) == ([3, 3, 7, 7, 0, 0, 1, 1], 4)


@pytest.mark.parametrize("model", ALL)
def test_images_have_numbers_below_that_of_the_order(model):
    pipe = minigen.load(model, backend="numpy")
    last = 2**32 - 2
    for first, labels in ((2**32, [7]), (2**32 - 1, [7]), (last, [7, 7])):
        for call in (pipe.sample, pipe.steps):
            with pytest.raises(InputError, match=f"first {first}"):
                call(labels, first=first)
    next(pipe.steps([7], first=last))
    assert rng.ORDER_IMAGE == checks.LAST_IMAGE + 1


def test_what_is_drawn_of_the_last_images_is_their_own(pipe):
    draw = [pipe.sample([7], steps=1, first=first) for first in (0, 2**32 - 2)]
    assert not np.array_equal(*draw)


@pytest.mark.parametrize("name", ["arpg-mnist", "gpt-mnist", "aim-mnist", *MASKED])
def test_guidance_is_one_formula_in_every_model(name):
    """u + g (c - u): at 0 the class is forgotten; 1, 0.5, 0 and -2 are not the same."""
    config = MASKED.get(name) or PRESETS[name]
    if name in MASKED:
        weights = stand_in(config)
    else:
        weights = minigen.load(name, backend="numpy").generator.weights
    plan = plans.plan((config.side, config.side), "raster", "one")
    way = "grid" if name == "arinar" else "candidates"

    def first(label, guidance):
        how = options.Options(guidance, "constant", guided_draw=way)
        call = backends.table("numpy"), weights, config, plan, [label], 1, how
        step = next(sample.steps(*call))
        return step.tokens if step.probabilities is None else step.probabilities

    apart = [first(1, guidance) for guidance in (1.0, 0.5, 0.0, -2.0)]
    for i, one in enumerate(apart):
        assert not any(np.array_equal(one, other) for other in apart[:i])
    # MAR guides the predicted noise, and its variance stays that of the class
    far, near = (abs(first(1, g) - first(2, g)).max() for g in (1.0, 0.0))
    assert near <= (far if name == "mar" else 1e-3 * far)


@pytest.mark.parametrize("model", ("gpt-mnist", "aim-mnist"))
def test_fewer_steps_than_tokens_are_refused_where_each_token_is_a_step(model):
    pipe = minigen.load(model, backend="numpy")
    with pytest.raises(InputError, match="steps 5 is fewer than the 64"):
        pipe.sample([7], steps=5)
    for steps in (None, 64, 80):
        assert len(pipe.plan(steps=steps).groups) == 64
    run = CliRunner().invoke(app, ["sample", model, "-c", "7", "--steps", "5"])
    assert run.exit_code == 2 and "leave steps out" in run.output.replace("\n", " ")


SMALL = {"width": 16, "layers": 2, "vocabulary": 20, "classes": 5, "tokens": 4}
LEARNED = {**MASKED, "aim": AimConfig(**SMALL, state_size=4, head_size=8)}


@pytest.mark.parametrize("family", LEARNED)
@pytest.mark.parametrize("grid", [(1, 4), (3, 3), (2, 3), (1, 1), (4, 1)])
def test_learned_positions_are_those_of_one_grid(family, grid):
    config = LEARNED[family]
    ops, plan = backends.table("numpy"), plans.plan(grid, "raster", "one")
    with pytest.raises(InputError, match="learned the positions of a grid of 2 x 2"):
        sample.sample(ops, {}, config, plan, [1])


def test_turned_positions_are_those_of_any_grid():
    config = ArpgConfig(
        width=16, layers=2, heads=2, vocabulary=20, classes=5, tokens=4, multiple_of=16
    )
    ops, weights = backends.table("numpy"), stand_in(config)
    for grid in ((1, 4), (3, 3), (5, 1)):
        tokens = sample.sample(ops, weights, config, plans.plan(grid), [1])
        assert tokens.shape == (1, *grid) and 0 <= tokens.min() <= tokens.max() < 20


@pytest.mark.parametrize("name", ["arpg-mnist", "gpt-mnist", "aim-mnist", *MASKED])
def test_what_is_yielded_is_the_callers_own(backend, name):
    """Every array of every step is overwritten, and the run goes on as before."""
    config = MASKED.get(name) or replace(PRESETS[name], tokens=4)
    ops, weights = backends.table(backend), stand_in(config)
    raster = name in ("gpt-mnist", "aim-mnist")
    plan = (
        plans.plan((2, 2), "raster", "one") if raster else plans.plan((2, 2), steps=3)
    )
    call = ops, weights, config, plan, [1, 2], 5
    expected = sample.sample(*call)
    told = []
    for step in sample.steps(*call):
        told.append(step.canvas.copy())
        for array in (step.positions, step.tokens, step.probabilities, step.canvas):
            if array is not None:
                array[...] = 1
    assert np.array_equal(told[-1], expected)


def test_what_is_known_may_change_after_the_call():
    config = ArpgConfig(
        width=16, layers=2, heads=2, vocabulary=20, classes=5, tokens=4, multiple_of=16
    )
    ops, weights = backends.table("numpy"), stand_in(config)
    known, plan = np.array([[3, 4]]), plans.plan((2, 2), known=(0, 1))
    call = ops, weights, config, plan, [1], 0, None
    expected = sample.sample(*call, known)
    run = sample.steps(*call, known)
    known[...] = 0
    assert np.array_equal(list(run)[-1].canvas, expected)


@pytest.mark.parametrize(
    "tokens",
    (np.full((1, 8, 8), 3.7), np.full((1, 8, 8), 3.0), np.full((1, 8, 8), np.nan),
     np.ones((1, 8, 8), bool), np.full((1, 8, 8), "3"), [[[1, 2], [3]]], None, "tokens",
     np.full((1, 8, 8), -1), np.full((1, 8, 8), 2**63, np.uint64), np.zeros((1, 8))),
)  # fmt: skip
def test_tokens_are_whole_numbers(pipe, tokens):
    with pytest.raises((InputError, ShapeError)):
        pipe.decode(tokens)


@pytest.mark.parametrize("name", ("arpg-mnist", "arinar-mnist"))
@pytest.mark.parametrize(
    "canvas",
    ([[[1], [1, 2]]], np.full((1, 8, 8), "1"), np.full((1, 8, 8, 4), "1"), None, 3,
     "canvas", np.full((1, 8, 8), -2), np.full((1, 8, 8, 4), np.inf), np.zeros((0, 8)),
     np.ones((1, 8, 8), bool), np.ones((1, 8, 8, 4), complex), np.zeros((1, 8))),
)  # fmt: skip
def test_a_canvas_is_tokens_or_latents(name, canvas):
    with pytest.raises((InputError, ShapeError)):
        minigen.load(name, backend="numpy").picture(canvas)


@pytest.mark.parametrize("dtype", ("u1", ">i4", "i8", "u8"))
def test_tokens_of_every_whole_dtype_are_the_same_tokens(pipe, dtype):
    tokens = np.arange(64).reshape(1, 8, 8)
    assert np.array_equal(pipe.decode(tokens.astype(dtype)), pipe.decode(tokens))


@pytest.mark.parametrize(
    "call",
    [
        lambda: plans.plan((4, 4), order=[0.5, *range(1, 16)]),
        lambda: plans.plan((4, 4), order=5),
        lambda: plans.plan((4, 4), order={0: 1}),
        lambda: plans.plan((4, 4), schedule=[15.5, 0.5]),
        lambda: plans.plan((4, 4), schedule=16),
        lambda: plans.plan((4, 4), known=[1.5]),
        lambda: plans.plan((4, 4), known=7),
        lambda: plans.plan((4.0, 4)),
        lambda: plans.plan((4,)),
        lambda: plans.plan(16),
        lambda: plans.plan((10**9, 10**9)),
        lambda: plans.plan((4, 4), steps=10**9),
        lambda: plans.plan((4, 4), "raster", seed=1.5),
        lambda: plans.plan((4, 4), schedule="no", known=range(16)),
    ],
)
def test_a_plan_takes_whole_numbers(call):
    with pytest.raises(InputError):
        call()


def test_a_thin_grid_has_a_spiral():
    for grid in ((1, 30_000), (30_000, 1)):
        assert sorted(plans.plan(grid, "spiral", "one").order) == list(range(30_000))


@pytest.mark.parametrize(
    "plan",
    [
        plans.Plan((2, 2), ((0, 1), (2, 4))),
        plans.Plan((2, 2), ((0, 1), (1, 2))),
        plans.Plan((2, 2), ((0,), ()), (3,)),
        plans.Plan((2, 2), ((0.5,),)),
        plans.Plan((2, 2), ((0,),), (0,)),
        "raster",
    ],
)
def test_a_plan_that_is_none_is_refused(plan):
    config = ArpgConfig(
        width=16, layers=2, heads=2, vocabulary=20, classes=5, tokens=4, multiple_of=16
    )
    with pytest.raises(InputError, match="plan"):
        sample.steps(backends.table("numpy"), {}, config, plan, [1])


def test_an_option_of_another_model_is_refused():
    for model in ALL:
        pipe = minigen.load(model, backend="numpy")
        if model != "aim-mnist":
            with pytest.raises(InputError, match="positions 'trained' is for AiM"):
                pipe.steps([1], positions="trained")
        if model != "arinar-mnist":
            with pytest.raises(InputError, match="as ARINAR's are"):
                pipe.steps([1], guided_draw="grid")


def test_errors_come_before_the_first_step(pipe):
    with pytest.raises(InputError):
        pipe.steps([99])


@pytest.mark.parametrize(
    "how", ({"count": 1}, {"count": 10**9}, {"first": -1}, {"batch": 0}, {"count": 2.5})
)
def test_an_evaluation_is_checked_before_it_draws(pipe, how):
    with pytest.raises(InputError):
        evaluate_generator(pipe, None, **{"count": 10, **how})


COMMANDS = [
    "sample arpg-mnist -c 0-999999999",
    "sample arpg-mnist -c 3-",
    "sample arpg-mnist -c 3 --count 100000000",
    "sample arpg-mnist -c 3 --steps 1000000000",
    "sample arpg-mnist -c 3 --scale 100000",
    "sample arpg-mnist -c 3 --top-k -1",
    "sample arpg-mnist -c 3 --top-p 1.5",
    "sample arpg-mnist -c 3 --first 4294967295",
    "sample arpg-mnist -c 3 --guided-steps 0",
    "sample arpg-mnist -c 3 --seed 18446744073709551616",
    "sample arpg-mnist -c 3 --guidance inf",
    "sample arpg-mnist -c 3 --temperature nan",
    "sample arpg-mnist -c 3 --positions trained",
    "steps arpg-mnist -c 0-9,0-9,0-9 --scale 4000 --pictures",
    "evaluate arpg-mnist --count 100000000",
    "evaluate arpg-mnist --data .",
    "evaluate vq-mnist --data . --steps 5",
    "evaluate arpg-mnist --sweep steps=1,x",
    "evaluate arpg-mnist --sweep stepps=1",
    "convert arpg-mnist out.safetensors --family nonsense",
    "check rms_norm --seed -1",
    "bench cpu gpt-b --steps 5",
    "bench cpu arpg-k",
    "bench rungs --runs 65537",
    "bench cpu arpg-l --batch 65537",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_at_once(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, command.split())
    assert isinstance(run.exception, SystemExit), run.exception
    assert run.exit_code == 2 and not list(tmp_path.iterdir())


def test_a_family_is_what_the_file_holds(tmp_path):
    from minigen.catalogue import WEIGHTS

    source, out = WEIGHTS / "arpg-mnist.safetensors", tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match="no llamagen model, but one of .* arpg"):
        convert(source, out, family="llamagen")
    assert convert(source, out, family="arpg").family == "arpg"


def test_every_option_of_a_run_has_a_check():
    from minigen.show.recipe import SCHEMA, Recipe

    assert {f.name for f in fields(options.Options)} <= options.CHECKS.keys()
    assert {f.name for f in fields(Recipe)} == SCHEMA.keys()
