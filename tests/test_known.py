"""Known tokens, and how they and those of a step are read: laws of every family."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import arrays, backends, checks, plans, recorded, sample
from minigen.checkpoints import Model
from minigen.errors import InputError
from minigen.models import arpg
from minigen.pipeline import Pipeline
from minigen.sample import Options
from tests import test_masked, test_recorded
from tests.models.stand_in import stand_in
from tests.test_sample import CONFIG as ARPG
from tests.test_sample import LOGIT_ERROR, compare
from tests.tolerance import assert_same

RASTER = {"gpt": test_recorded.RASTER, "aim": test_recorded.MAMBA2}
CONFIGS = {"arpg": ARPG, **RASTER, **test_masked.CONFIGS}
SIDES = {"gpt": 4, "arpg": 4}
WEIGHTS = {name: stand_in(config) for name, config in CONFIGS.items()}
FAMILIES = pytest.mark.parametrize("family", CONFIGS)
few = settings(max_examples=8)


def plan_of(family, known, seed=0, steps=3):
    """Return a plan that knows these positions, or as many as the family may know."""
    side = SIDES.get(family, 2)
    if family in RASTER:
        return plans.plan((side, side), "raster", "one", known=range(len(known)))
    known = [*dict.fromkeys(p % side**2 for p in known)]
    return plans.plan((side, side), "random", "arccos", steps, known, seed)


def tokens_of(family, plan, b, seed):
    """Return drawn known tokens of b images."""
    generator, config = np.random.default_rng(seed), CONFIGS[family]
    shape = b, len(plan.known)
    if family in test_masked.CONFIGS:
        return generator.standard_normal((*shape, config.features)).astype(np.float32)
    return generator.integers(0, config.vocabulary, shape)


def run(family, plan, labels, known=None, backend="numba", first=0, **how):
    options = Options(**{"guidance": 2.5, **how})
    call = backends.table(backend), WEIGHTS[family], CONFIGS[family], plan, labels
    return list(sample.steps(*call, 7, options, known, first))


positions = st.lists(st.integers(0, 15), max_size=3, unique=True)


@FAMILIES
@few
@given(positions, st.integers(0, 99))
def test_known_tokens_are_never_changed(family, known, seed):
    plan = plan_of(family, known, seed)
    given = tokens_of(family, plan, 2, seed)
    for step in run(family, plan, [0, 2], given):
        canvas = step.canvas.reshape(2, -1, *step.canvas.shape[3:])
        assert_same(canvas[:, list(plan.known)], given)


@FAMILIES
def test_to_know_nothing_is_to_sample(family, backend):
    plan = plan_of(family, ())
    nothing = tokens_of(family, plan, 2, 0)
    for reading in ("block", "causal") if family == "arpg" else ("causal",):
        how = {"backend": backend, "known_reading": reading}
        plain = run(family, plan, [1, 2], backend=backend)
        assert run(family, plan, [1, 2], nothing, **how) == plain


@FAMILIES
@few
@given(positions, st.integers(0, 99), st.integers(0, 2))
def test_an_image_alone_is_the_image_of_a_batch(family, known, seed, image):
    plan = plan_of(family, known, seed)
    given, labels = tokens_of(family, plan, 3, seed), [0, 2, 1]
    how = [{}]
    if family == "arpg":
        how = [{"reading": one, "known_reading": one} for one in arpg.READINGS]
    for options in how:
        many = run(family, plan, labels, given, **options)
        one = labels[image : image + 1], given[image : image + 1]
        alone = run(family, plan, *one, first=image, **options)
        for a, b in zip(many, alone, strict=True):
            assert_same(a.tokens[image : image + 1], b.tokens)
            assert_same(a.canvas[image : image + 1], b.canvas)


def one_by_one(monkeypatch):
    """Let ARPG read every token in a call of its own."""
    feed = arpg.feed

    def fed(ops, weights, config, cache, ids, rows, table, causal=False, watch=None):
        for i in range(ids.shape[1]):
            one = (np.ascontiguousarray(each[:, i : i + 1]) for each in (ids, rows))
            cache = feed(ops, weights, config, cache, *one, table)
        return cache

    monkeypatch.setattr(arpg, "feed", fed)


@pytest.mark.parametrize("name", ["numpy", "numba"])
@few
@given(positions, st.integers(1, 6), st.integers(0, 99))
def test_causal_reading_is_reading_one_by_one(name, known, steps, seed):
    """One call, a causal mask among its tokens: on numba the same bits."""
    plan = plan_of("arpg", known, seed, steps)
    given, how = (
        tokens_of("arpg", plan, 2, seed),
        {"backend": name, "reading": "causal"},
    )
    together = run("arpg", plan, [0, 3], given, **how)
    with pytest.MonkeyPatch.context() as monkeypatch:
        one_by_one(monkeypatch)
        apart = run("arpg", plan, [0, 3], given, **how)
        # then there is nothing that a mask could hide
        block = {**how, "reading": "block", "known_reading": "block"}
        assert run("arpg", plan, [0, 3], given, **block) == apart
    if name == "numba":
        assert together == apart
    else:
        compare(together, apart, 7)
        off = np.abs(together[0].probabilities - apart[0].probabilities)
        assert off.max() <= LOGIT_ERROR * 40


def test_reading_in_blocks_is_another_reading():
    """Of several tokens in a call; of one there is nothing to choose."""
    plan, given = plan_of("arpg", (3, 9, 4)), np.array([[1, 2, 3]])
    runs = {
        (step, known): run("arpg", plan, [1], given, reading=step, known_reading=known)
        for step in arpg.READINGS
        for known in arpg.READINGS
    }
    assert runs["block", "block"] != runs["block", "causal"]
    assert runs["causal", "causal"] != runs["block", "causal"]
    plan = plans.plan((4, 4), schedule="one", known=[3])
    one = [run("arpg", plan, [1], given[:, :1], reading=r) for r in arpg.READINGS]
    assert one[0] == one[1]


def test_the_order_of_known_tokens_counts_where_they_are_read_in_turn():
    """A block sees all of itself, so only rounding tells its order."""
    one, given = plan_of("arpg", (3, 9, 4)), np.array([[1, 2, 3]])
    other = replace(one, known=(9, 4, 3))
    for reading in arpg.READINGS:
        a, b = (
            run("arpg", plan, [1], tokens, known_reading=reading)[0].probabilities
            for plan, tokens in ((one, given), (other, given[:, [1, 2, 0]]))
        )
        assert (np.abs(a - b).max() <= LOGIT_ERROR * 40) == (reading == "block")


@pytest.mark.parametrize("family", ["gpt", "aim", "arinar", "mar"])
@pytest.mark.parametrize(
    "name, value", [("reading", "causal"), ("known_reading", "block")]
)
def test_a_reading_is_for_arpg(family, name, value):
    said = f"{name} '{value}' is for ARPG, .* leave it out"
    with pytest.raises(InputError, match=said):
        run(family, plan_of(family, ()), [1], **{name: value})


@pytest.mark.parametrize("family", RASTER)
def test_a_raster_model_completes_a_prefix_only(family):
    side = SIDES.get(family, 2)
    plan = plans.plan((side, side), "raster", "one", known=[1])
    with pytest.raises(
        InputError, match="known tokens must come first in raster order"
    ):
        run(family, plan, [1], np.array([[1]]))


SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in CONFIGS if n != "arpg"]


@pytest.mark.in_parts
@pytest.mark.needs("compiler")
@pytest.mark.parametrize("family", ["arpg", *SLOW])
def test_a_recorded_run_reads_what_is_known(family):
    """On a device: launched twice, recorded, replayed with other tokens and places."""
    config = test_recorded.CONFIG if family == "arpg" else CONFIGS[family]
    latents = family in test_masked.CONFIGS
    decoder = test_masked.KL if latents else test_recorded.PIXELS
    pipes, device = [], arrays.Ptx()
    for name, where in (("numpy", None), ("ptx", device)):
        ops = backends.table(name, where)
        models = (
            Model(each, backends.move(ops, stand_in(each)), Path(name))
            for each in (config, decoder)
        )
        pipes.append(Pipeline(*models, name, ops))
    how = {"reading": "causal"} if family == "arpg" else {}
    options = Options(guidance=2.0, guidance_schedule="constant", **how)
    launches = []
    for place in ((2, 3), (3, 1), (0, 1)):
        plan = plans.plan((2, 2), schedule="linear", steps=1, known=place)
        if family in RASTER:
            # AiM knows the positions of one grid
            grid = (1, 3) if family == "gpt" else (2, 2)
            plan = plans.plan(grid, "raster", "one", known=[0, 1])
        known = tokens_of(family, plan, 1, seed=place[0])
        known = known if latents else known % config.vocabulary
        before = device.launches
        expected, images = (
            recorded.draw(pipe, plan, [1], 5, options, 0, known)[0] for pipe in pipes
        )
        launches.append(device.launches - before)
        # a pixel is rounded down: float32 noise may move it by a level
        assert abs(images.astype(int) - expected.astype(int)).max() <= 1
    (run,) = pipes[1].recorded.values()
    assert launches == [len(run.recording) * times for times in (1, 2, 1)]


@FAMILIES
def test_without_a_class_guidance_changes_nothing(family, backend):
    """Both of its halves are the same, beside an image with a class too."""
    plan, labels = plan_of(family, ()), [1, checks.NO_CLASS]
    # of candidates, which are drawn, one is chosen; the exact density is the same
    how = {"guided_draw": "grid"} if family == "arinar" else {}
    one, other = (
        run(family, plan, labels, backend=backend, guidance=g, **how)[-1].canvas
        for g in (2.5, 4.0)
    )
    assert_same(one[1], other[1])
    assert not (one[0] == other[0]).all()
    alone = run(family, plan, labels[1:], backend=backend, first=1, **how)[-1].canvas
    if backend == "numba":
        assert_same(alone[0], one[1])


def test_a_model_that_knows_none_wants_a_class():
    config = replace(CONFIGS["gpt"], no_class=False)
    call = backends.table("numpy"), stand_in(config), config, plan_of("gpt", ())
    with pytest.raises(InputError, match="nothing without a class; ask for guidance 1"):
        sample.steps(*call, [checks.NO_CLASS], options=Options(guidance=1.0))
