"""The order confidence: the most certain tokens of each step are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import arrays, backends, confidence, load, plans, recorded, rng, sample
from minigen.errors import InputError
from minigen.models import arpg, codes
from minigen.models.query import Draws, Query
from minigen.options import Options
from tests.models.stand_in import stand_in
from tests.test_recorded import CONFIG, OPTIONS, pipeline
from tests.test_sample import compare

WEIGHTS = stand_in(CONFIG)


def run(plan, labels, seed=0, known=None, first=0, name="numpy", **options):
    call = backends.table(name), WEIGHTS, CONFIG, plan, labels, seed
    return list(sample.steps(*call, Options(**options), known, first))


@settings(max_examples=15)
@given(
    known=st.lists(st.integers(0, 11), unique=True, max_size=11),
    schedule=st.sampled_from(plans.SCHEDULES),
    steps=st.integers(1, 15),
    seed=st.integers(0, 2**64 - 1),
    noise=st.sampled_from([0.0, 0.0, 4.5]),
)
def test_every_step_keeps_the_most_certain(known, schedule, steps, seed, noise):
    """Against the model asked for every unknown cell of one image, step by step."""
    plan = plans.plan((3, 4), "confidence", schedule, steps, known, seed)
    tokens = np.arange(2 * len(known)).reshape(2, -1) % CONFIG.vocabulary
    seen = run(plan, [0, 2], seed, tokens, first=3, confidence_noise=noise)
    assert [step.positions.shape for step in seen] == [(2, n) for n in plan.counts]
    ops = backends.table("numpy")
    table = arpg.rotary_table(ops, CONFIG, (3, 4))
    for i, label in enumerate([0, 2]):
        prompt = arpg.prompt(CONFIG, [label], np.array(known, int) + 1, tokens[i:][:1])
        cache = arpg.begin(ops, WEIGHTS, CONFIG, *prompt[0], table, 13, causal=True)
        left = [p for p in range(12) if p not in known]
        for step in seen:
            rows = np.tile(np.array(left) + 1, (2, 1))
            logits = arpg.ask(ops, WEIGHTS, CONFIG, cache, rows, table)
            p = ops.probabilities(ops.guide(logits, step.weight), 1.0, 0, 1.0)
            where = seed, [3 + i], step.index, left
            drawn = ops.draw(p, rng.uniforms(*where))[0]
            certain = np.log(np.take_along_axis(p[0], drawn[:, None], 1)[:, 0])
            gumbel = -np.log(-np.log(rng.uniforms(*where, index=1)[0].astype(float)))
            certain = certain + noise * (1 - (step.index + 1) / len(seen)) * gumbel
            kept = [left.index(position) for position in step.positions[i]]
            others = [k for k in range(len(left)) if k not in kept]
            assert kept == sorted(kept)
            assert (step.tokens[i] == drawn[kept]).all()
            assert min(certain[kept]) >= max(certain[others], default=-np.inf) - 1e-4
            new, at = drawn[kept], step.positions[i] + 1
            new, at = (np.tile(row, (2, 1)) for row in (new, at))
            cache = arpg.feed(ops, WEIGHTS, CONFIG, cache, new, at, table)
            left = [position for k, position in enumerate(left) if k in others]
        assert not left


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 12), image=st.integers(0, 3))
def test_it_partitions_and_never_changes_what_is_known(seed, steps, image):
    plan = plans.plan((3, 4), "confidence", "arccos", steps, known=(7, 2), seed=seed)
    known = np.array([[1, 2]] * 4)
    seen = run(plan, [0, 1, 2, 0], seed, known, name="numba")
    drawn = np.concatenate([step.positions for step in seen], axis=1)
    expected = [p for p in range(12) if p not in (2, 7)]
    assert (np.sort(drawn, axis=1) == expected).all()
    for step in seen:
        flat = step.canvas.reshape(4, 12)
        assert (flat[:, [7, 2]] == known).all()
        assert (np.take_along_axis(flat, step.positions, 1) == step.tokens).all()
        unknown = (flat == codes.UNKNOWN).sum(1)
        assert (unknown == 10 - sum(plan.counts[: step.index + 1])).all()
    # and image i alone is image i of a batch, bit for bit
    alone = run(plan, [[0, 1, 2, 0][image]], seed, known[:1], image, name="numba")
    for one, many in zip(alone, seen, strict=True):
        assert np.array_equal(one.positions[0], many.positions[image])
        assert np.array_equal(one.probabilities[0], many.probabilities[image])


def test_of_equally_certain_tokens_the_lower_position_is_kept():
    ops = backends.table("numpy")
    positions = np.array([[1, 4, 6, 9], [0, 2, 3, 8]])
    query = Query(positions + 1, positions, np.repeat([0, 1], 4))
    draws = Draws(np.uint32([1, 0]), query.images, positions, 0)
    p = np.full((2, 4, 2), 0.5, np.float32)
    p[0, 3] = 0.75, 0.25
    tokens = np.zeros((2, 4), np.int64)
    kept, _, q, left = confidence.keep(ops, draws, query, tokens, p, 2)
    assert kept.positions.tolist() == [[1, 9], [0, 2]]
    assert left.positions.tolist() == [[4, 6], [3, 8]]
    assert q[0, :, 0].tolist() == [0.5, 0.75]
    assert kept.images.tolist() == left.images.tolist() == [0, 0, 1, 1]


@pytest.mark.needs("compiler")
def test_a_device_keeps_the_same_and_records_nothing():
    runs, pipes = [], (pipeline(), pipeline(arrays.Ptx()))
    plan = plans.plan((1, 3), "confidence", "linear", 2)
    for pipe in pipes:
        call = pipe.ops, pipe.generator.weights, CONFIG, plan, [0, 2]
        runs.append(list(sample.steps(*call, seed=8, options=OPTIONS)))
    assert compare(*runs, seed=8) == 0
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.positions, other.positions)
        assert np.array_equal(one.canvas, other.canvas)
    device = pipes[1]
    for _ in range(3):
        images = recorded.draw(device, plan, [0], 8, OPTIONS, 0)[0]
    assert not device.recorded and images.shape == (1, 1, 3, 3)


def test_the_work_counts_every_pass():
    pipe = load("arpg-mnist", backend="numpy")
    plan = pipe.plan("confidence", "linear", 16)
    assert plan.counts == (4,) * 16 and plan.asked == tuple(range(64, 0, -4))
    assert pipe.plan("halton").asked == pipe.plan("halton").counts


@pytest.mark.parametrize(
    "model, said",
    [
        ("arinar-mnist", "density and no probability"),
        ("mar-mnist", "density and no probability"),
        ("gpt-mnist", "one token a step in raster order"),
        ("aim-mnist", "one token a step in raster order"),
    ],
)
def test_other_models_refuse_and_say_why(model, said):
    pipe = load(model, backend="numpy")
    for schedule in ("one", "linear"):
        with pytest.raises(InputError, match=said):
            pipe.steps([1], order="confidence", schedule=schedule)


def test_noise_belongs_to_confidence():
    pipe = load("arpg-mnist", backend="numpy")
    with pytest.raises(InputError, match=r"confidence_noise 4.5 .* leave it out"):
        pipe.sample([1], order="halton", confidence_noise=4.5)
    with pytest.raises(InputError, match="confidence_noise -1"):
        pipe.options(confidence_noise=-1)
    images = [
        pipe.sample([1], order="confidence", steps=4, confidence_noise=noise)
        for noise in (0, 0, 4.5)
    ]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
