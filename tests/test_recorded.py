"""Runs on a device: whole models through the interpreter of CUDA kernels, or, which is
faster, through what the compiler makes of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minigen import arrays, backends, flags, plans, recorded, sample
from minigen.checkpoints import Model
from minigen.families import AimConfig, ArpgConfig, GptConfig, VqConfig
from minigen.pipeline import Pipeline
from tests.models.stand_in import stand_in
from tests.test_sample import compare

CONFIG = ArpgConfig(
    width=32, layers=2, heads=2, vocabulary=24, classes=3, tokens=16, multiple_of=16
)
RASTER = GptConfig(
    width=32, layers=2, heads=4, key_heads=2, vocabulary=24, classes=3, tokens=16,
    multiple_of=16,
)  # fmt: skip
MAMBA2 = AimConfig(
    width=16, layers=2, vocabulary=24, classes=3, tokens=4, state_size=8, head_size=8
)
MAMBA1 = replace(MAMBA2, mixer="mamba1", state_size=4, condition_groups=2, hidden=32)
# one level: a token is a pixel, which keeps the interpreted convolutions short
PIXELS = VqConfig(base=32, multipliers=(1,), latent=8, codes=24, code_size=4)
NAMES = {
    type(None): "numpy", arrays.Interpreter: "interpreter", arrays.Ptx: "ptx"
}  # fmt: skip
OPTIONS = sample.Options(guidance=3.0, temperature=0.9, top_k=20, top_p=0.95)


def pipeline(device=None, config=CONFIG):
    """Return a pipeline of stand-ins, on that device or on NumPy."""
    name = NAMES[type(device)]
    ops = backends.table(name, device)
    models = (
        Model(config, backends.move(ops, stand_in(config)), Path(name))
        for config in (config, PIXELS)
    )
    return Pipeline(*models, name, ops)


def draw(pipe, labels, seed, order="random", steps=2, **options):
    plan = plans.plan((1, 3), order, "linear", steps, seed=seed)
    how = replace(OPTIONS, **options)
    return recorded.draw(pipe, plan, labels, seed, how, 0)[0]


@pytest.fixture(scope="module")
def device():
    return arrays.Interpreter(seed=3)


@pytest.fixture(scope="module")
def compiled():
    return arrays.Ptx()


@pytest.fixture
def quick(monkeypatch):
    """Let a run be a single kernel: what is recorded when is all the same."""

    def launch(pipe, grid, options, given, advance=None):
        first = given.queries[0]
        places = first.positions.reshape(-1)
        images = pipe.ops.uniforms(given.key, first.images, places, 0, 0)
        return [images], flags.of_run(pipe.ops, len(given.queries))

    monkeypatch.setattr(recorded, "launch", launch)


def test_a_tiny_arpg_draws_the_reference_s_tokens(device):
    """Every kernel of a run interpreted: the same tokens as NumPy's reference."""
    plan = plans.plan((2, 4), "random", "arccos", 3, seed=1, known=[3, 7])
    known = np.array([[5, 23], [0, 11]])
    runs = []
    for pipe in (pipeline(), pipeline(device)):
        call = pipe.ops, pipe.generator.weights, CONFIG, plan, [0, 2]
        options = {"seed": 8, "options": OPTIONS, "known": known}
        runs.append(list(sample.steps(*call, **options)))
    assert compare(*runs, seed=8) == 0
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.canvas, other.canvas)


@pytest.mark.in_parts
@pytest.mark.slow
@pytest.mark.needs("compiler")
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_tiny_gpt_draws_the_reference_s_tokens(compiled, guidance):
    """Row by row, with heads that share keys; with and without guidance."""
    plan = plans.plan((2, 4), "raster", "one", known=[0, 1])
    known = np.array([[5, 23], [0, 11]])
    options = replace(OPTIONS, guidance=guidance, guided_steps=4)
    runs = []
    for pipe in (pipeline(config=RASTER), pipeline(compiled, RASTER)):
        call = pipe.ops, pipe.generator.weights, RASTER, plan, [0, 2]
        runs.append(list(sample.steps(*call, seed=8, options=options, known=known)))
    assert compare(*runs, seed=8) == 0
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.canvas, other.canvas)


@pytest.mark.in_parts
@pytest.mark.parametrize("config", [MAMBA2, MAMBA1], ids=lambda c: c.mixer)
def test_a_tiny_aim_draws_the_reference_s_tokens(device, config):
    """Class and known tokens are read, then one drawn a step, its state moved on."""
    plan = plans.plan((2, 2), "raster", "one", known=[0])
    runs = []
    for pipe in (pipeline(config=config), pipeline(device, config)):
        call = pipe.ops, pipe.generator.weights, config, plan, [1]
        how = {"seed": 8, "options": OPTIONS, "known": np.array([[5]])}
        runs.append(list(sample.steps(*call, **how)))
    assert compare(*runs, seed=8) == 0
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.canvas, other.canvas)


@pytest.mark.in_parts
@pytest.mark.slow
@pytest.mark.needs("compiler")
@pytest.mark.parametrize("config", [RASTER, MAMBA2], ids=["gpt", "aim"])
def test_a_raster_model_s_third_run_is_replayed(compiled, config):
    """A state that a run leaves behind must not be seen by the next."""
    pipe, plain = pipeline(compiled, config), pipeline(config=config)
    # AiM knows the positions of one grid
    plan = plans.plan((1, 3) if config is RASTER else (2, 2), "raster", "one")
    launches = []
    for label, seed in ((0, 5), (2, 6), (1, 7)):
        before = compiled.launches
        images, expected = (
            recorded.draw(p, plan, [label], seed, OPTIONS, 0)[0] for p in (pipe, plain)
        )
        launches.append(compiled.launches - before)
        assert abs(images.astype(int) - expected.astype(int)).max() <= 1
    (run,) = pipe.recorded.values()
    assert launches == [len(run.recording) * times for times in (1, 2, 1)]


@pytest.mark.in_parts
@pytest.mark.needs("compiler")
@pytest.mark.parametrize("order", ["random", "random-each"])
def test_the_third_run_of_a_shape_is_replayed(order, compiled):
    pipe, plain = pipeline(compiled), pipeline()
    runs = [([0], 5), ([2], 6), ([1], 7)]
    launches = []
    for labels, seed in runs:
        before = compiled.launches
        images = draw(pipe, labels, seed, order)
        launches.append(compiled.launches - before)
        # another order of the same counts, other classes, another seed
        expected = draw(plain, labels, seed, order)
        assert images.dtype == np.uint8 and images.shape == (1, 1, 3, 3)
        # a pixel is rounded down: float32 noise may move it by a level
        assert abs(images.astype(int) - expected.astype(int)).max() <= 1
    (run,) = pipe.recorded.values()
    # the second run is launched, recorded, and replayed to be compared
    assert launches == [len(run.recording) * times for times in (1, 2, 1)]


def test_other_options_or_counts_are_another_run(device, quick):
    pipe = pipeline(device)
    for options in ({}, {"guidance": 1.0}, {"steps": 3}):
        draw(pipe, [0], 1, **options)
    draw(pipe, [0], 1, order="random-each")
    assert len(pipe.recorded) == 4
    assert set(pipe.recorded.values()) == {"seen"}


def test_the_last_used_recordings_are_kept(device, quick):
    pipe = pipeline(device)
    weights = [float(i) for i in range(recorded.KEPT + 1)]
    for weight in (*weights[:-1], *weights[:-1], weights[0], weights[-1], weights[-1]):
        draw(pipe, [0], 1, guidance=weight)
    kept = {
        shape[-1].guidance
        for shape, run in pipe.recorded.items()
        if isinstance(run, recorded.Run)
    }
    # the second was used longest ago
    assert kept == {*weights} - {weights[1]}


def test_a_recording_that_differs_is_not_trusted(device, quick, monkeypatch):
    pipe = pipeline(device)
    expected = draw(pipe, [0], 1)
    replay = arrays.Recording.replay

    def forget(recording):
        replay(recording)
        for images in pipe.last.images:
            images[...] = 0

    original = recorded.record

    def record(*arguments):
        object.__setattr__(pipe, "last", original(*arguments))
        return pipe.last

    monkeypatch.setattr(recorded, "record", record)
    monkeypatch.setattr(arrays.Recording, "replay", forget)
    with pytest.warns(RuntimeWarning, match="other images"):
        second = draw(pipe, [0], 1)
    third = draw(pipe, [0], 1)
    assert (second == expected).all() and (third == expected).all()
    assert set(pipe.recorded.values()) == {"differs"}


def test_a_run_without_steps_shows_nothing_but_what_is_known(device):
    plan = plans.plan((1, 2), known=[0, 1])
    for pipe in (pipeline(), pipeline(device)):
        call = pipe.ops, pipe.generator.weights, CONFIG, plan, [0]
        tokens = sample.sample(*call, known=np.array([[4, 9]]))
        assert tokens.tolist() == [[[4, 9]]]
