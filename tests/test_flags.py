"""Numbers that are none, and indices that point nowhere: refused, and where is said."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minigen import arrays, backends, flags, plans, recorded, sample
from minigen.checkpoints import Model
from minigen.errors import InputError, NotFiniteError
from minigen.families import AimConfig, ArpgConfig, GptConfig, VqConfig
from minigen.pipeline import Pipeline
from minigen.sample import Options
from tests import test_masked, test_recorded
from tests.models.stand_in import stand_in

SMALL = {"width": 16, "layers": 2, "vocabulary": 24, "classes": 3, "tokens": 16}
CODES = {
    "arpg": ArpgConfig(**SMALL, heads=2, multiple_of=16),
    "gpt": GptConfig(**SMALL, heads=2, key_heads=1, multiple_of=16),
    "aim": AimConfig(**{**SMALL, "tokens": 4}, state_size=4, head_size=8),
}
VQ = VqConfig(base=32, multipliers=(1,), latent=8, codes=24, code_size=4)
NONE = pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)


FAMILIES = CODES | test_masked.CONFIGS
"""Tiny configurations of all generators by their family."""


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def pipeline(config, backend="numpy", device=None):
    """Return a pipeline of stand-ins."""
    ops = backends.table(backend, device)
    tokenizer = VQ if hasattr(config, "vocabulary") else test_masked.KL
    trees = ((each, stand_in(each)) for each in (config, tokenizer))
    models = (Model(c, backends.move(ops, w), Path("tiny")) for c, w in trees)
    return Pipeline(*models, backend, ops)


def plan_of(config, steps=2):
    if type(config) is AimConfig:
        return plans.plan((2, 2), "raster", "one")
    if type(config) is GptConfig:
        return plans.plan((1, steps), "raster", "one")
    if type(config) is ArpgConfig:
        return plans.plan((1, 3), "raster", "linear", steps)
    return plans.plan((2, 2), "raster", "cosine", steps)


def draw(pipe, steps=2, labels=(1,), **options):
    how = Options(**{"guidance": 2.0, **options})
    return recorded.draw(pipe, plan_of(pipe.config, steps), labels, 0, how, 0)[0]


def leaves(tree, path=()):
    """Yield (path, array) of all the arrays of a tree of weights."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, part in items:
        if isinstance(part, dict | list):
            yield from leaves(part, (*path, name))
        else:
            yield (*path, name), part


def put_at(tree, path, array):
    for name in path[:-1]:
        tree = tree[name]
    tree[path[-1]] = array


def spoil(tree):
    """Let all weights be NaN."""
    for path, array in [*leaves(tree)]:
        put_at(tree, path, np.full_like(array, np.nan))


def test_a_weight_that_is_none_draws_nothing(family, backend):
    """Of every array of every model: wherever NaN is, it comes to the draw."""
    pipe, silent = pipeline(FAMILIES[family], backend), []
    draw(pipe)
    for path, array in [*leaves(pipe.generator.weights)]:
        put_at(pipe.generator.weights, path, np.full_like(array, np.nan))
        try:
            draw(pipe)
            silent.append(path)
        except NotFiniteError as error:
            assert re.match(r"step \d of \d: .*info --check", str(error))
        put_at(pipe.generator.weights, path, array)
    assert silent == []


EXTREMES = {"mar": {"temperature": 3e38}, "arinar": {"temperature": 1e-38}}


def test_what_is_too_large_for_float32_names_its_step(family, backend):
    pipe = pipeline(FAMILIES[family], backend)
    if family not in EXTREMES:
        # logits of a size that no model has
        name = "words" if family == "aim" else "head"
        weights = pipe.generator.weights
        weights[name] = weights[name] * np.float32(1e10)
    how = EXTREMES.get(family, {"guidance": 1e30})
    with pytest.raises(NotFiniteError, match=r"step \d of \d: .*guidance and temp"):
        draw(pipe, **how)
    with pytest.raises(InputError, match="guidance 1e.38 is not .* -1e.30 .. 1e.30"):
        draw(pipe, guidance=1e38)


def test_a_step_names_itself_when_it_is_drawn_one_by_one(family, backend):
    pipe = pipeline(FAMILIES[family], backend)
    call = pipe.ops, pipe.generator.weights, pipe.config, plan_of(pipe.config)
    run = sample.steps(*call, [1])
    next(run)
    spoil(pipe.generator.weights)
    with pytest.raises(NotFiniteError, match="step 2 of"):
        next(run)


@pytest.mark.parametrize("kind", ["arpg", "mar"])
def test_pixels_and_tokens_of_numbers_that_are_none_are_refused(kind, backend):
    pipe = pipeline(FAMILIES[kind], backend)
    tokens = np.zeros((1, 1, 2) if kind == "arpg" else (1, 1, 2, 2), int)
    images = pipe.decode(tokens)
    spoil(pipe.tokenizer.weights)
    with pytest.raises(NotFiniteError, match="decoding tokens to pixels: .*finite"):
        pipe.decode(tokens)
    with pytest.raises(NotFiniteError, match="encoding images to tokens: .*finite"):
        pipe.encode(images)
    with pytest.raises(NotFiniteError, match="decoding tokens to pixels"):
        draw(pipe)


@NONE
def test_latents_that_are_none_are_not_decoded(value, backend):
    pipe = pipeline(FAMILIES["mar"], backend)
    latents = np.zeros((1, 1, 2, 2), np.float32)
    latents[0, 0, 1, 1] = value
    with pytest.raises(InputError, match="not finite"):
        pipe.decode(latents)


@pytest.fixture(scope="module")
def device():
    return arrays.Interpreter(seed=3)


COMPILED = [pytest.mark.slow, pytest.mark.needs("compiler")]


@pytest.mark.parametrize(
    "family, kind",
    [
        ("gpt", arrays.Interpreter),
        *(pytest.param(f, arrays.Ptx, marks=COMPILED) for f in FAMILIES if f != "gpt"),
    ],
)
def test_a_device_says_afterwards_which_step_it_was(family, kind):
    """Nothing waits while it draws; of two runs that take turns each has its words."""
    config = FAMILIES[family]
    config = replace(config, layers=1) if family == "gpt" else config
    device = kind()
    pipe = pipeline(config, test_recorded.NAMES[kind], device)
    call = pipe.ops, pipe.generator.weights, pipe.config, plan_of(pipe.config)
    good, bad = (sample.steps(*call, [1]) for _ in range(2))
    next(good), next(bad)
    last = next(good)
    spoil(pipe.generator.weights)
    with pytest.raises(NotFiniteError, match="step 2 of .: numbers are not finite"):
        next(bad)
    with pytest.raises(NotFiniteError, match="step 1 of .: numbers are not finite"):
        sample.sample(*call, [1])
    assert last.index == 1 and not device.flag.any()


def test_a_replayed_run_clears_its_words_and_says_which_is_set(device, monkeypatch):
    """Launched, recorded, replayed; a run that is right may follow one that is not."""
    pipe = pipeline(CODES["arpg"], "interpreter", device)
    ops, table = pipe.ops, device.put(np.ones((3, 2), np.float32))

    def launch(pipe, grid, options, given, advance=None):
        noted = flags.of_run(ops, len(given.queries))
        with noted.at(1):
            ids = given.queries[0].images.reshape(1, 1)
            return [ops.check_finite(ops.embed(table, ids))], noted

    monkeypatch.setattr(recorded, "launch", launch)
    for _ in range(3):
        assert (draw(pipe) == 1).all()
    (run,) = pipe.recorded.values()
    assert isinstance(run, recorded.Run)
    before = device.launches
    device.write(table, np.full((3, 2), np.inf, np.float32))
    with pytest.raises(NotFiniteError, match="step 2 of .: numbers are not finite"):
        draw(pipe)
    device.write(table, np.ones((3, 2), np.float32))
    assert (draw(pipe) == 1).all()
    assert device.launches == before + 2 * len(run.recording)


def outside(ops):
    """Yield calls of all functions that take indices, with one of them outside."""
    x, far = np.ones((1, 3, 2), np.float32), np.array([[0, 3]])
    for bad in (far, far - 4):
        yield ops.embed, x[0], bad
        yield ops.gather, x, bad
        yield ops.scatter, x.copy(), x[:, :2], bad
        yield ops.place, np.zeros((1, 3), int), np.ones((1, 2), int), bad[0]
        yield (
            ops.rope2d,
            np.ones((1, 2, 1, 4), np.float32),
            np.ones((3, 2, 2), np.float32),
            bad,
        )
        yield ops.cross_entropy, np.ones((1, 2, 3), np.float32), bad
        yield ops.draw_value, bad, x, x, np.ones((1, 2, 2), np.float32), 1.0


def test_an_index_out_of_range_is_not_followed_on_a_device(device):
    ops = backends.table("interpreter", device)
    put = {True: ops.put, False: lambda number: number}

    def expect(function, arguments, text):
        noted = flags.of_run(ops, 1)
        with noted.at(0):
            function(*(put[isinstance(a, np.ndarray)](a) for a in arguments))
        with pytest.raises(InputError, match=f"step 1 of 1: {text}"):
            noted.expect_clear()

    for function, *arguments in outside(ops):
        expect(function, arguments, "an index lies outside")
    given = np.ones((1, 1, 2), np.float32), np.float32([[1.5]])
    expect(ops.draw, given, "a uniform lies outside")
