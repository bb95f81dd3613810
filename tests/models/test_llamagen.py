"""LlamaGen: laws of the model, and of the loop that draws with it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import backends, pipeline, plans, sample
from minigen.bench import weights as bench_weights
from minigen.errors import ConfigError, InputError
from minigen.families import PRESETS, GptConfig
from minigen.models import llamagen
from tests.models.stand_in import stand_in
from tests.test_sample import LOGIT_ERROR, compare

CONFIG = GptConfig(
    width=48, layers=3, heads=6, key_heads=2, vocabulary=40, classes=5, tokens=16,
    multiple_of=16,
)  # fmt: skip
PLAN = plans.plan((4, 4), "raster", "one")


@pytest.fixture(scope="module")
def weights():
    return stand_in(CONFIG)


def run(ops, weights, labels, plan=PLAN, config=CONFIG, **options):
    return list(sample.steps(ops, weights, config, plan, labels, **options))


def tokens_of(steps):
    return steps[-1].canvas.reshape(len(steps[-1].canvas), -1)


def begin(ops, weights, labels, known, capacity=17):
    """Return the cache after a prompt of known tokens (b k), without guidance."""
    table = llamagen.rotary_table(ops, CONFIG)
    rows = llamagen.table_rows(range(known.shape[1]))
    first, *rest = llamagen.prompt(CONFIG, labels, rows, known, guided=False)
    cache = llamagen.begin(ops, weights, CONFIG, *first, table, capacity)
    for ids, rows in rest:
        cache = llamagen.feed(ops, weights, CONFIG, cache, ids, rows, table)
    return cache


def test_one_token_a_step_is_the_training_form(backend, weights):
    ops = backends.table(backend)
    drawn = run(ops, weights, [1, 4], options=sample.Options(guidance=1.0))
    table = llamagen.rotary_table(ops, CONFIG)
    tokens = tokens_of(drawn)[:, :-1]
    causal = llamagen.forward(ops, weights, CONFIG, tokens, [1, 4], table)
    p = ops.probabilities(causal, 1.0, 0, 1.0)
    cached = np.concatenate([step.probabilities for step in drawn], axis=1)
    assert np.abs(p - cached).max() <= LOGIT_ERROR * np.abs(causal).max()


def test_a_row_of_logits_ignores_the_tokens_that_follow(backend, weights):
    ops = backends.table(backend)
    table = llamagen.rotary_table(ops, CONFIG)
    tokens = np.arange(32).reshape(2, 16)
    whole = llamagen.forward(ops, weights, CONFIG, tokens, [0, 3], table)
    other = tokens.copy()
    other[:, 7:] = 39
    part = llamagen.forward(ops, weights, CONFIG, other, [0, 3], table)
    off = np.abs(whole - part)
    assert off[:, :8].max() <= LOGIT_ERROR * np.abs(whole).max() < off[:, 8:].max()


@settings(max_examples=10)
@given(k=st.integers(0, 15), room=st.integers(0, 40))
def test_what_is_known_is_read_as_what_was_drawn(weights, k, room):
    """Prefill and steps make one cache, whatever its capacity, bit for bit."""
    ops = backends.table("numba")
    tokens = np.arange(3, 33).reshape(2, 15)
    table = llamagen.rotary_table(ops, CONFIG)
    cache = begin(ops, weights, [0, 4], tokens[:, :k])
    for i in range(k, 15):
        rows = np.full((2, 1), 1 + i)
        ids = np.ascontiguousarray(tokens[:, i : i + 1])
        cache = llamagen.feed(ops, weights, CONFIG, cache, ids, rows, table)
    whole = begin(ops, weights, [0, 4], tokens, 16 + room)
    assert {layer.length for layer in cache.layers + whole.layers} == {16}
    logits = [
        llamagen.ask(ops, weights, CONFIG, c, None, table) for c in (cache, whole)
    ]
    assert np.array_equal(*logits)
    for one, other in zip(cache.layers, whole.layers, strict=True):
        assert np.array_equal(one.keys[:, :16], other.keys[:, :16])
        assert np.array_equal(one.values[:, :16], other.values[:, :16])


def test_shared_heads_are_heads_repeated(backend, weights):
    """A model with fewer heads of keys is one in which their rows are repeated."""
    ops = backends.table(backend)
    alike = replace(CONFIG, key_heads=CONFIG.heads)
    layers = []
    for layer in weights["layers"]:
        q, k, v = llamagen._parts(CONFIG, layer["qkv"])
        heads = (CONFIG.key_heads, CONFIG.head_size, CONFIG.width)
        k, v = (np.repeat(w.reshape(heads), CONFIG.shared, axis=0) for w in (k, v))
        qkv = np.concatenate([q, *(w.reshape(q.shape) for w in (k, v))])
        layers.append({**layer, "qkv": qkv})
    runs = [
        run(ops, tree, [2, 0], config=config, seed=3)
        for tree, config in ((weights, CONFIG), ({**weights, "layers": layers}, alike))
    ]
    assert compare(*runs, seed=3) == 0


def test_a_cache_takes_the_bytes_that_its_tokens_take():
    """The table of the specification: 2 n K d numbers of two bytes a token."""
    ops = backends.table("numpy")
    for name, expected in (("gpt-b", 36_864), ("gpt-l", 98_304)):
        cache = llamagen.new_cache(ops, PRESETS[name], 1, 1)
        numbers = sum(each.keys.size + each.values.size for each in cache.layers)
        assert 2 * numbers == expected
    shared = replace(PRESETS["gpt-b"], key_heads=3)
    cache = llamagen.new_cache(ops, shared, 1, 1)
    numbers = sum(each.keys.size + each.values.size for each in cache.layers)
    assert 2 * numbers == 36_864 // 4


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32), image=st.integers(0, 3), guidance=st.floats(0, 8))
def test_alone_as_in_a_batch(weights, seed, image, guidance):
    """Image i of four is the image drawn alone, bit for bit on Numba."""
    ops, labels = backends.table("numba"), [3, 0, 4, 1]
    options = sample.Options(guidance=guidance, guidance_schedule="constant")
    how = {"seed": seed, "options": options}
    many = run(ops, weights, labels, **how)
    one = run(ops, weights, labels[image:][:1], first=image, **how)
    for a, b in zip(many, one, strict=True):
        assert np.array_equal(a.tokens[image], b.tokens[0])
        assert np.array_equal(a.probabilities[image], b.probabilities[0])


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32))
def test_numpy_and_numba_draw_the_same(weights, seed):
    runs = [
        run(backends.table(name), weights, [0, 3, 4], seed=seed)
        for name in ("numpy", "numba")
    ]
    print(f"near-ties: {compare(*runs, seed)}")


def test_guidance_of_one_is_none(backend, weights):
    """Then the unconditional half is not computed, and the weight is given as 1."""
    ops, options = backends.table(backend), sample.Options(guidance=1.0)
    steps = run(ops, weights, [1], seed=2, options=options)
    assert [step.weight for step in steps] == [1.0] * 16
    given_ = sample.inputs(ops, CONFIG, PLAN, [1], options=options)
    assert given_.prompt[0][0].shape == given_.queries[0].asked.shape == (1, 1)


def test_guidance_below_one_does_what_the_formula_says(backend, weights):
    """u + g (c - u): at 0 the class is forgotten, below it is avoided."""
    ops, table = backends.table(backend), None
    table = llamagen.rotary_table(ops, CONFIG)
    for guidance in (0.0, 0.5, -2.0):
        options = sample.Options(guidance, "constant", top_k=40)
        steps = run(ops, weights, [1], seed=2, options=options)
        assert [step.weight for step in steps] == [guidance] * 16
        nothing = np.zeros(0, int), np.zeros((1, 0), int)
        ((ids, rows),) = llamagen.prompt(CONFIG, [1], *nothing)
        cache = llamagen.begin(ops, weights, CONFIG, ids, rows, table, 17)
        c, u = llamagen.ask(ops, weights, CONFIG, cache, None, table)
        logits = u + np.float32(guidance) * (c - u)
        p = np.exp(logits - logits.max())
        assert abs(steps[0].probabilities[0] - p / p.sum()).max() < 1e-5
    one, other = (
        run(ops, weights, [label], options=sample.Options(0.0, "constant"))
        for label in (1, 3)
    )
    assert np.array_equal(tokens_of(one), tokens_of(other))


def test_only_the_first_steps_are_guided(backend, weights):
    ops, all_steps = backends.table(backend), {}
    for guided_steps in (None, 3, 16):
        options = sample.Options(3.0, "constant", guided_steps, top_k=1)
        all_steps[guided_steps] = run(ops, weights, [1, 2], seed=5, options=options)
    some = [step.weight for step in all_steps[3]]
    assert some == [3.0] * 3 + [1.0] * 13
    for one, other in zip(all_steps[None], all_steps[16], strict=True):
        assert one.weight == other.weight == 3.0
        assert np.array_equal(one.probabilities, other.probabilities)
    # the fourth token of the same past, drawn without guidance
    past = tokens_of(all_steps[3])[:, :3]
    cache = begin(ops, weights, [1, 2], np.ascontiguousarray(past))
    table = llamagen.rotary_table(ops, CONFIG)
    logits = llamagen.ask(ops, weights, CONFIG, cache, None, table)
    assert np.array_equal(logits.argmax(-1), all_steps[3][3].tokens)


@pytest.mark.parametrize(
    "plan, reason",
    [
        (plans.plan((4, 4), "column", "one"), "one token a step in raster order"),
        (plans.plan((4, 4), "raster", "linear", 4), "one token a step in raster order"),
        (plans.plan((4, 4), "raster", "one", known=(0, 2)), "known tokens must come"),
    ],
)
def test_other_orders_are_refused(weights, plan, reason):
    known = np.zeros((1, len(plan.known)), np.int64)
    with pytest.raises(InputError, match=reason):
        run(backends.table("numpy"), weights, [0], plan, known=known)


def test_known_rows_stay(backend, weights):
    plan = plans.plan((4, 4), "raster", "one", known=range(5))
    known = np.arange(10).reshape(2, 5)
    drawn = run(backends.table(backend), weights, [0, 1], plan, known=known)
    assert len(drawn) == 11
    assert np.array_equal(tokens_of(drawn)[:, :5], known)
    assert tokens_of(drawn).min() >= 0


def test_without_a_row_of_no_class_there_is_no_guidance():
    config = GptConfig.from_upstream(
        {"dim": 32, "n_layer": 1, "n_head": 2, "vocab_size": 9, "num_classes": 3,
         "block_size": 4, "class_dropout_prob": 0.0}
    )  # fmt: skip
    tree = stand_in(config)
    assert tree["classes"].shape == (3, 32)
    ops, plan = backends.table("numpy"), plans.plan((2, 2), "raster", "one")
    with pytest.raises(InputError, match="ask for guidance 1"):
        run(ops, tree, [2], plan, config)
    options = sample.Options(guidance=1.0)
    assert len(run(ops, tree, [2], plan, config, options=options)) == 4


@pytest.mark.parametrize(
    "options, said",
    [
        ({"heads": 5}, "width 48 over 5 heads"),
        ({"key_heads": 4}, "key_heads must divide heads"),
        ({"tokens": 17}, "expected a square number, such as 16"),
        ({"layers": 0}, "layers is 0"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        replace(CONFIG, **options)


def test_labels_in_images_out(tmp_path):
    paths = {}
    for name in ("gpt-mnist", "vq-mnist"):
        paths[name] = tmp_path / f"{name}.safetensors"
        bench_weights.write(PRESETS[name], paths[name])
    pipe = pipeline.load(paths["gpt-mnist"], paths["vq-mnist"], backend="numpy")
    assert pipe.config == PRESETS["gpt-mnist"]
    assert pipe.plan() == plans.plan((8, 8), "raster", "one")
    assert pipe.options() == sample.Options(2.0, "constant")
    images = pipe.sample([3, 7], seed=1)
    assert images.shape == (2, 32, 32, 3) and images.dtype == np.uint8
    (*_, last) = pipe.steps([3, 7], seed=1)
    assert np.array_equal(pipe.decode(last.canvas), images)
    with pytest.raises(InputError, match="raster order"):
        pipe.sample([3], order="random")
