"""Runs of models whose tokens are vectors: through the loop, the pipeline, a device."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minigen import backends, plans, recorded, sample
from minigen.checkpoints import Model
from minigen.errors import InputError, ShapeError
from minigen.families import FAMILIES, ArinarConfig, KlConfig, MarConfig, VqConfig
from minigen.pipeline import GREY, Pipeline, check_fit
from minigen.sample import Options
from tests.models.stand_in import stand_in
from tests.tolerance import EPS, assert_same

SIZES = {
    "width": 16, "encoder_width": 16, "encoder_layers": 1, "decoder_layers": 2,
    "encoder_heads": 2, "decoder_heads": 2, "buffer": 2, "classes": 3, "tokens": 4,
    "channels": 2,
}  # fmt: skip
CONFIGS = {
    "arinar": ArinarConfig(**SIZES, inner_width=8, mixtures=2),
    "mar": MarConfig(**SIZES, head_width=16, head_layers=1, noise_steps=3),
}
KL = KlConfig(base=32, multipliers=(1, 1), channels=2, attention=(), scale=0.5)


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    config = CONFIGS[request.param]
    weights = stand_in(config)
    embed = weights["decoder_embed"]
    embed["w"] = embed["w"] * np.float32(0.25)
    return request.param, config, weights


def pipeline(model, backend):
    family, config, weights = model
    _, ops = backends.pick(backend)
    models = [
        Model(each, backends.move(ops, tree), Path(family))
        for each, tree in ((config, weights), (KL, stand_in(KL)))
    ]
    return Pipeline(*models, backend, ops)


def plan_of(steps=3, known=(), order="random"):
    return plans.plan((2, 2), order, "cosine", steps, known, seed=1)


def run(model, backend="numba", labels=(1, 2), plan=None, watch=None, **how):
    _, config, weights = model
    known, first = how.pop("known", None), how.pop("first", 0)
    ops, options = backends.table(backend), Options(**{"guidance": 2.0, **how})
    call = ops, weights, config, plan or plan_of(), labels, 3, options, known, first
    return list(sample.steps(*call, watch))


def test_a_canvas_fills_up_and_nothing_on_it_changes(model):
    steps = run(model)
    assert [step.index for step in steps] == [0, 1, 2]
    before = np.full((2, 2, 2, 2), np.nan, np.float32)
    for step in steps:
        assert step.probabilities is None and step.tokens.dtype == np.float32
        assert step.positions.tolist() == sorted(plan_of().groups[step.index])
        before.reshape(2, 4, 2)[:, step.positions] = step.tokens
        assert_same(step.canvas, before)
    assert np.isfinite(before).all()
    _, config, weights = model
    call = backends.table("numba"), weights, config, plan_of(), (1, 2), 3
    assert_same(sample.sample(*call, Options(guidance=2.0)), before)


def test_guidance_rises_and_ends_where_it_was_told_to(model):
    assert [step.weight for step in run(model)] == [1.25, 1.5, 1.75]
    assert [step.weight for step in run(model, guided_steps=1)] == [1.25, 1, 1]
    assert [step.weight for step in run(model, guidance=1.0)] == [1, 1, 1]


def test_a_step_without_guidance_is_that_of_a_run_without_any(model):
    """The first step knows nothing: guided or not, it is the class that it knows."""
    seen = {"guided": [], "plain": []}

    def watch(to):
        return lambda name, what: to.append(what) if name == "conditions" else None

    run(model, guided_steps=1, watch=watch(seen["guided"]))
    run(model, guidance=1.0, watch=watch(seen["plain"]))
    (_, both), (_, plain) = seen["guided"][0], seen["plain"][0]
    assert len(both) == 2 * len(plain) == 4
    assert_same(np.asarray(both)[:2], plain)


def test_an_image_is_the_same_alone(model):
    together = run(model)[-1].canvas
    assert_same(run(model, labels=(2,), first=1)[-1].canvas, together[1:])
    assert abs(run(model, labels=(2,))[-1].canvas - together[1:]).max() > 1e-3


def test_an_image_with_an_order_of_its_own_is_the_same_alone(model):
    plan = plan_of(order="random-each")
    assert plan.of(0) != plan.of(1)
    together = run(model, plan=plan)
    (alone,) = run(model, labels=(2,), first=1, plan=plan)[-1].canvas
    assert_same(alone, together[-1].canvas[1])
    # its own positions as data are the same plan
    own = run(model, labels=(2,), first=1, plan=plan.of(1))
    assert_same(own[-1].canvas[0], alone)
    for step, group in zip(together, plan.of(1).groups, strict=True):
        assert step.positions[1].tolist() == sorted(group)


def test_known_tokens_are_kept_and_listened_to(model):
    plan = plan_of(2, known=(3, 0))
    known = np.float32([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    steps = run(model, plan=plan, known=known)
    canvas = steps[-1].canvas.reshape(2, 4, 2)
    assert_same(canvas[:, [3, 0]], known)
    assert [step.weight for step in steps] == [1.75, 1.75]
    other = run(model, plan=plan, known=known + 1)[-1].canvas.reshape(2, 4, 2)
    assert abs(other[:, [1, 2]] - canvas[:, [1, 2]]).max() > 1e-3
    # what a run drew itself it would draw again, were the rest known to it
    whole = run(model)
    first, rest = plan_of().groups[0], sum(plan_of().groups[1:], ())
    again = plans.Plan((2, 2), (rest,), first)
    drawn = whole[0].canvas.reshape(2, 4, 2)[:, first]
    seen = []

    def watch(name, what):
        if name == "conditions":
            seen.append(np.asarray(what[1]))

    run(model, watch=watch)
    run(model, plan=again, known=drawn, watch=watch)
    order = sorted(rest)
    kept = [order.index(p) for p in sorted(plan_of().groups[1])]
    error = 4 * EPS * 60 * abs(seen[1]).max()
    assert abs(seen[-1][:, kept] - seen[1]).max() <= error


def test_backends_draw_the_same(model):
    expected = run(model, "numpy")[-1].canvas
    ours = run(model)[-1].canvas
    # rounding, and what six layers and three noisy steps make of it
    assert abs(ours - expected).max() <= 2000 * EPS * abs(expected).max()


@pytest.mark.parametrize("way", ["candidates", "grid"])
def test_both_ways_of_a_guided_draw_are_drawn(way):
    config = CONFIGS["arinar"]
    model = "arinar", config, stand_in(config)
    steps = run(model, guided_draw=way)
    assert np.isfinite(steps[-1].canvas).all()
    other = {"candidates": "grid", "grid": "candidates"}[way]
    assert abs(run(model, guided_draw=other)[-1].canvas - steps[-1].canvas).max() > 0


def test_what_no_vector_has_is_refused(model):
    family = model[0]
    with pytest.raises(
        InputError, match="top_k 5 and top_p 1.0 choose among the codes"
    ):
        run(model, top_k=5)
    with pytest.raises(
        InputError, match="guided_draw 'best' is not known; choose from cand"
    ):
        run(model, guided_draw="best")
    if family == "mar":
        with pytest.raises(InputError, match="as ARINAR's are; leave it out"):
            run(model, guided_draw="grid")
    known = np.zeros((2, 1, 3), np.float32)
    with pytest.raises(InputError, match=r"shape \(2, 1, 3\).*so \(2, 1, 2\)"):
        run(model, plan=plan_of(2, known=(1,)), known=known)
    with pytest.raises(InputError, match="numbers that are not finite"):
        run(model, plan=plan_of(2, known=(1,)), known=known[..., :2] * np.nan)


def test_pictures_of_latents(model):
    pipe = pipeline(model, "numba")
    steps = list(pipe.steps([1], seed=2, steps=3, guidance=2.0))
    picture = pipe.picture(steps[0].canvas)
    assert picture.shape == (1, 4, 4, 3) and picture.dtype == np.uint8
    unknown = np.isnan(steps[0].canvas[0, ..., 0]).repeat(2, 0).repeat(2, 1)
    assert (picture[0, unknown] == GREY).all()
    whole = pipe.sample([1], seed=2, steps=3, guidance=2.0)
    assert_same(pipe.picture(steps[-1].canvas), whole)
    latents = pipe.encode(whole)
    assert latents.shape == (1, 2, 2, 2) and latents.dtype == np.float32
    # a scale of 0.5 of what the encoder says
    half = pipeline(model, "numba")
    tokenizer = replace(half.tokenizer, config=replace(KL, scale=1.0))
    half = replace(half, tokenizer=tokenizer)
    assert_same(half.encode(whole), 2 * latents)
    assert_same(half.decode(2 * latents), pipe.decode(latents))
    with pytest.raises(InputError, match="latents hold numbers that are not finite"):
        pipe.decode(steps[0].canvas)
    with pytest.raises(ShapeError, match=r"shape \(2, 2\); expected \(b, y, x, 2\)"):
        pipe.decode(np.zeros((2, 2)))


def test_a_tokenizer_must_fit(model):
    family, config, _ = model
    generator = SimpleNamespace(family=family, config=config)
    vq = SimpleNamespace(family="vq", config=VqConfig())
    with pytest.raises(InputError, match=f"expected a KL tokenizer, for .* {family}"):
        check_fit(generator, vq, FAMILIES["kl"])
    wide = SimpleNamespace(family="kl", config=replace(KL, channels=5))
    with pytest.raises(
        InputError, match="2 channels at a time, and the tokenizer has 5"
    ):
        check_fit(generator, wide, FAMILIES["kl"])
    check_fit(generator, SimpleNamespace(family="kl", config=KL), FAMILIES["kl"])


@pytest.mark.slow
@pytest.mark.needs("compiler")
def test_a_recorded_run_is_the_run(model):
    """On a device: launched twice, recorded, and replayed with other inputs."""
    pipe = pipeline(model, "ptx")
    plan = plans.plan((2, 2), "raster", "linear", 1)
    other = plans.plan((2, 2), (3, 1, 0, 2), "linear", 1)
    config, weights = model[1:]
    options = Options(guidance=2.0, guidance_schedule="constant")
    options = replace(options, guided_draw="grid") if model[0] == "arinar" else options

    def draw(plan, label, seed):
        given = sample.inputs(pipe.ops, config, plan, [label], seed, options)
        return given, recorded.draw(pipe, plan, (label,), seed, options, 0)[0]

    draw(plan, 1, 0)
    draw(plan, 2, 1)
    (run,) = pipe.recorded.values()
    assert isinstance(run, recorded.Run)
    given, images = draw(other, 0, 5)
    ops = backends.table("numpy")
    latents = sample.sample(ops, weights, config, other, [0], 5, options)
    numpy_pipe = pipeline(model, "numpy")
    expected = numpy_pipe.decode(latents).astype(int)
    assert (abs(images.astype(int) - expected) <= 1).all()
    assert given.queries[0].positions.tolist() == [[0, 1, 2, 3]]
