"""The loop: laws of the model, and images that depend on nothing but their seed."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import backends, plans, rng, sample
from minigen.errors import InputError
from minigen.families import ArpgConfig
from minigen.models import arpg, codes
from minigen.orders import PER_IMAGE
from tests.models.stand_in import stand_in

CONFIG = ArpgConfig(
    width=48, layers=4, heads=4, vocabulary=40, classes=5, tokens=16, multiple_of=16
)
EPS = float(np.finfo(np.float32).eps)
# a logit is a sum of `width` products after 4 layers of about ten roundings each
LOGIT_ERROR = 4 * EPS * 40


@pytest.fixture(scope="module")
def weights():
    return stand_in(CONFIG)


def run(ops, weights, plan, labels, **options):
    return list(sample.steps(ops, weights, CONFIG, plan, labels, **options))


def compare(one, other, seed, first=0):
    """Assert that two runs drew the same tokens; return how many near-ties excuse them.

    A near-tie is a uniform so close to a step of the cumulative distribution that the
    float32 error of the probabilities can carry it across. After one, that image's runs
    part, and it is compared no further.
    """
    together = np.ones(len(one[0].tokens), bool)
    ties = 0
    for a, b in zip(one, other, strict=True):
        images = np.arange(first, first + len(together))
        positions = np.broadcast_to(a.positions, a.tokens.shape)
        pairs = zip(images, positions, strict=True)
        u = np.concatenate([rng.uniforms(seed, [i], a.index, p) for i, p in pairs])
        edges = np.cumsum(a.probabilities.astype(np.float64), axis=-1)
        gap = np.abs(edges - u[..., None] * edges[..., -1:]).min(axis=-1)
        differ = (a.tokens != b.tokens) & together[:, None]
        assert (gap[differ] < 100 * LOGIT_ERROR).all()
        ties += int(differ.any(axis=1).sum())
        together &= ~differ.any(axis=1)
    return ties


def test_one_token_a_step_is_the_training_form(backend, weights):
    """Decoding with the cache, one token at a time, gives the causal logits."""
    ops = backends.table(backend)
    plan = plans.plan((4, 4), "random", "one", seed=3)
    run_steps = run(ops, weights, plan, [1, 4], options=sample.Options(guidance=1.0))
    tokens = run_steps[-1].canvas.reshape(2, 16)
    order = np.tile(plan.order, (2, 1))
    table = arpg.rotary_table(ops, CONFIG)
    causal = arpg.forward(ops, weights, CONFIG, tokens, [1, 4], order, table)
    # at guidance 1 the guided logits are the conditional ones
    p = ops.probabilities(causal, 1.0, 0, 1.0)
    cached = np.concatenate([step.probabilities for step in run_steps], axis=1)
    assert np.abs(p - cached).max() <= LOGIT_ERROR * np.abs(causal).max()


def test_the_first_queries_agree(backend, weights):
    """With the class alone in the cache, every position gets the same logits."""
    ops = backends.table(backend)
    table = arpg.rotary_table(ops, CONFIG)
    cache = arpg.new_cache(ops, CONFIG, 1, 4)
    ids, zero = np.array([[CONFIG.class_id(2)]]), np.array([[0]])
    cache = arpg.feed(ops, weights, CONFIG, cache, ids, zero, table)
    rows = np.arange(1, 17)[None]
    logits = arpg.ask(ops, weights, CONFIG, cache, rows, table)
    assert np.abs(logits - logits[:, :1]).max() <= LOGIT_ERROR * np.abs(logits).max()


def test_order_inside_a_group_does_not_matter(backend, weights):
    ops = backends.table(backend)
    table = arpg.rotary_table(ops, CONFIG)
    ids = np.array([[CONFIG.class_id(0), 7, 8, 9, 3]])
    rows = np.array([[0, 5, 2, 9, 16]])
    asked = np.array([[1, 3, 4]])

    def logits(permutation):
        cache = arpg.new_cache(ops, CONFIG, 1, 5)
        cache = arpg.feed(
            ops,
            weights,
            CONFIG,
            cache,
            ids[:, permutation],
            rows[:, permutation],
            table,
        )
        return arpg.ask(ops, weights, CONFIG, cache, asked, table)

    a, b = logits([0, 1, 2, 3, 4]), logits([3, 0, 4, 2, 1])
    assert np.abs(a - b).max() <= LOGIT_ERROR * np.abs(a).max()


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32),
    order=st.sampled_from(["random", *PER_IMAGE]),
    steps=st.integers(1, 16),
    image=st.integers(0, 7),
    guidance=st.floats(-2, 8),
)
def test_alone_as_in_a_batch(weights, seed, order, steps, image, guidance):
    """Image i of eight is the image drawn alone, bit for bit on Numba."""
    plan = plans.plan((4, 4), order, "arccos", steps, seed=seed)
    labels = [i % 5 for i in range(8)]
    options = sample.Options(guidance=guidance)
    for name in ("numpy", "numba"):
        ops = backends.table(name)
        many = run(ops, weights, plan, labels, seed=seed, options=options)
        one = run(
            ops,
            weights,
            plan,
            labels[image:][:1],
            seed=seed,
            options=options,
            first=image,
        )
        if name == "numba":
            for a, b in zip(many, one, strict=True):
                assert np.array_equal(a.tokens[image], b.tokens[0])
                assert np.array_equal(a.probabilities[image], b.probabilities[0])
        else:
            part = [_image(step, image) for step in many]
            ties = compare(part, one, seed, first=image)
            print(f"near-ties: {ties}")


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 16),
    schedule=st.sampled_from(plans.SCHEDULES),
)
def test_numpy_and_numba_draw_the_same(weights, seed, steps, schedule):
    plan = plans.plan((4, 4), "random", schedule, steps, seed=seed)
    runs = [
        run(backends.table(name), weights, plan, [0, 3, 4], seed=seed)
        for name in ("numpy", "numba")
    ]
    print(f"near-ties: {compare(*runs, seed)}")


@pytest.mark.needs("numba")
def test_one_thread_as_two():
    """Two processes with one and two Numba threads print the same bytes."""
    code = (
        "import hashlib, numba, numpy as np\n"
        "from minigen import backends, plans, sample\n"
        "from tests.test_sample import CONFIG, run\n"
        "from tests.models.stand_in import stand_in\n"
        "from minigen import threads\n"
        "threads.all_of_them().__enter__()\n"
        "w = stand_in(CONFIG)\n"
        "s = run(backends.table('numba'), w, plans.plan((4, 4), steps=5), [1, 2, 3])\n"
        "p = b''.join(np.ascontiguousarray(x.probabilities).tobytes() for x in s)\n"
        "print(numba.get_num_threads(), hashlib.sha256(p).hexdigest())\n"
    )
    said = []
    for threads in ("1", "2"):
        env = {**os.environ, "NUMBA_NUM_THREADS": threads}
        out = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True
        )
        assert out.returncode == 0, out.stderr
        said.append(out.stdout.split())
    assert said[0][0] == "1" and said[1][0] == "2"
    assert said[0][1] == said[1][1]


def test_known_tokens_stay(backend, weights):
    ops = backends.table(backend)
    plan = plans.plan((4, 4), "spiral", "arccos", 4, known=(0, 5, 15))
    known = np.array([[1, 2, 3], [4, 5, 6]])
    tokens = sample.sample(ops, weights, CONFIG, plan, [0, 1], known=known)
    assert np.array_equal(tokens.reshape(2, 16)[:, [0, 5, 15]], known)
    assert tokens.min() >= 0 and tokens.max() < CONFIG.vocabulary


def test_nothing_left_to_decode(backend, weights):
    plan = plans.plan((2, 2), known=(3, 1, 0, 2))
    known = np.array([[30, 10, 0, 20]])
    tokens = sample.sample(
        backends.table(backend), weights, CONFIG, plan, [0], known=known
    )
    assert tokens.tolist() == [[[0, 10], [20, 30]]]


def test_a_larger_grid_than_trained(backend, weights):
    plan = plans.plan((3, 7), "raster", "linear", 5)
    tokens = sample.sample(backends.table(backend), weights, CONFIG, plan, [2])
    assert tokens.shape == (1, 3, 7) and tokens.min() >= 0


def test_steps_tell_what_was_drawn(backend, weights):
    plan = plans.plan((4, 4), "halton", "linear", 4)
    seen = sample.steps(backends.table(backend), weights, CONFIG, plan, [1, 2])
    for step, group in zip(seen, plan.groups, strict=True):
        assert step.positions.tolist() == list(group)
        flat = step.canvas.reshape(2, 16)
        assert np.array_equal(flat[:, step.positions], step.tokens)
        assert (flat != codes.UNKNOWN).sum() == 2 * 4 * (step.index + 1)
        drawn = np.take_along_axis(step.probabilities, step.tokens[..., None], -1)
        assert (drawn > 0).all()
        assert np.abs(step.probabilities.sum(-1) - 1).max() < CONFIG.vocabulary * EPS


def test_steps_tell_where_each_image_was_drawn(backend, weights):
    plan = plans.plan((4, 4), "random-each", "linear", 4, known=(3,), seed=2)
    known = np.array([[7], [8]])
    call = backends.table(backend), weights, CONFIG, plan, [1, 2]
    for step in sample.steps(*call, known=known, first=5):
        for i in range(2):
            assert tuple(step.positions[i]) == plan.of(5 + i).groups[step.index]
            flat = step.canvas[i].reshape(16)
            assert np.array_equal(flat[step.positions[i]], step.tokens[i])
            assert flat[3] == known[i]
        counted = (step.canvas.reshape(2, 16) != codes.UNKNOWN).sum(1)
        assert counted.tolist() == [1 + sum(plan.counts[: step.index + 1])] * 2


def test_an_order_an_image_draws_what_its_own_plan_draws(backend, weights):
    """The positions as data, one image at a time, give the same image."""
    plan = plans.plan((4, 4), "random-each", "arccos", 5, seed=2)
    call = backends.table(backend), weights, CONFIG
    together = sample.sample(*call, plan, [1, 2], seed=3)
    for i, label in enumerate([1, 2]):
        alone = sample.sample(*call, plan.of(i), [label], seed=3, first=i)
        assert np.array_equal(together[i], alone[0])


@pytest.mark.parametrize(
    "labels, known, options, said",
    [
        ([5], None, {}, "class 5"),
        ([-2], None, {}, "class -2"),
        ([1.5], None, {}, "1.5"),
        ([], None, {}, "no labels"),
        ([1], [[1]], {}, "knows 0"),
        ([1], None, {"temperature": -1}, "temperature -1"),
        ([1], None, {"guidance": float("nan")}, "guidance nan"),
        ([1], None, {"guidance_schedule": "up"}, "'up'"),
        ([1], None, {"top_k": 1.5}, "top_k 1.5"),
        ([1], None, {"top_p": float("nan")}, "top_p"),
    ],
)
def test_bad_input_is_named(weights, labels, known, options, said):
    ops = backends.table("numpy")
    with pytest.raises(InputError, match=said):
        run(
            ops,
            weights,
            plans.plan((4, 4)),
            labels,
            known=known,
            options=sample.Options(**options),
        )


def _image(step, i):
    return sample.Step(
        step.index,
        step.steps,
        np.broadcast_to(step.positions, step.tokens.shape)[i : i + 1],
        step.tokens[i : i + 1],
        step.probabilities[i : i + 1],
        step.weight,
        step.canvas[i : i + 1],
    )
