"""ARPG with control: what queries start from, and laws of drawing with it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import backends, plans, sample
from minigen.checkpoints import hash_weights, names
from minigen.errors import InputError, ShapeError
from minigen.families import PRESETS, to_dict
from minigen.models import arpg
from minigen.sample import Options
from tests.models.stand_in import stand_in
from tests.test_sample import CONFIG as PLAIN
from tests.test_sample import compare
from tests.tolerance import assert_same

CONFIG = replace(PLAIN, control=5)
WEIGHTS = stand_in(CONFIG)
ORDERS = pytest.mark.parametrize("order", ["random", "random-each", "confidence"])
few = settings(max_examples=8)


def controls(b, seed, grid=(4, 4)):
    return np.random.default_rng(seed).integers(0, CONFIG.control, (b, *grid))


def run(control, labels=(0, 2), order="random", backend="numba", first=0, **how):
    plan = plans.plan((4, 4), order, "arccos", 4, seed=3)
    options = Options(**{"guidance": 2.5, **how})
    call = backends.table(backend), WEIGHTS, CONFIG, plan, list(labels), 7, options
    return list(sample.steps(*call, first=first, control=control))


def test_with_a_table_of_zeros_it_is_the_model_without_control(backend):
    ops = backends.table(backend)
    plan, labels = plans.plan((4, 4), "random", "arccos", 4), [0, 2]
    zeros = {**WEIGHTS, "control": np.zeros_like(WEIGHTS["control"])}
    plain = {name: each for name, each in WEIGHTS.items() if name != "control"}
    a = sample.steps(ops, zeros, CONFIG, plan, labels, control=controls(2, 0))
    assert list(a) == list(sample.steps(ops, plain, PLAIN, plan, labels))


@few
@given(st.integers(0, 99))
def test_one_token_a_step_equals_the_training_form(seed):
    ops, generator = backends.table("numpy"), np.random.default_rng(seed)
    tokens, control = generator.integers(0, CONFIG.vocabulary, (1, 16)), controls(1, 1)
    order = generator.permutation(16)
    table = arpg.rotary_table(ops, CONFIG)
    flat = control.reshape(1, -1)
    call = ops, WEIGHTS, CONFIG, tokens, [1], order[None], table
    expected = arpg.forward(*call, codes=flat)
    assert np.abs(expected - arpg.forward(*call, codes=(flat + 1) % 5)).max() > 0.1
    cache = arpg.new_cache(ops, CONFIG, 1, 17)
    cache = arpg.control(ops, WEIGHTS, CONFIG, cache, arpg.with_class(CONFIG, flat))
    ids, rows = np.array([[CONFIG.class_id(1)]]), np.array([[0]])
    for t, position in enumerate(order):
        cache = arpg.feed(ops, WEIGHTS, CONFIG, cache, ids, rows, table)
        ids, rows = tokens[:, [position]], np.array([[1 + position]])
        logits = arpg.ask(ops, WEIGHTS, CONFIG, cache, rows, table)
        assert np.abs(logits[:, 0] - expected[:, t]).max() < 1e-4


@ORDERS
@few
@given(st.integers(0, 99), st.integers(0, 2))
def test_an_image_alone_is_the_image_of_a_batch(order, seed, image):
    control, labels = controls(3, seed), [0, 2, 1]
    many, part = run(control, labels, order), slice(image, image + 1)
    alone = run(control[part], labels[part], order, first=image)
    for a, b in zip(many, alone, strict=True):
        assert_same(a.tokens[part], b.tokens)
        assert_same(a.probabilities[part], b.probabilities)


@ORDERS
def test_one_control_serves_all_images(order):
    one = controls(1, 4)
    assert run(one, order=order) == run(np.repeat(one, 2, axis=0), order=order)


def test_backends_draw_the_same_tokens():
    assert compare(run(controls(2, 5)), run(controls(2, 5), backend="numpy"), 7) == 0


def test_the_half_without_a_class_has_no_control_either():
    one, other = controls(2, 1), controls(2, 2)
    for guidance, same in ((0.0, True), (1.0, False)):
        how = {"guidance": guidance, "guidance_schedule": "constant"}
        runs = (run(control, **how) for control in (one, other))
        a, b = ([step.tokens.tolist() for step in each] for each in runs)
        assert (a == b) is same


@pytest.mark.parametrize(
    "control, said",
    [
        (None, "and none were given"),
        (np.zeros((3, 4, 4), int), r"shape \(3, 4, 4\) .* expected \(2, 4, 4\) or \(1"),
        (np.zeros((4, 4), int), r"shape \(4, 4\)"),
        (np.full((1, 4, 4), 5), r"5 \.\. 5; this model's are 0 \.\. 4"),
        (np.full((1, 4, 4), -1), r"-1 \.\. -1"),
        (np.zeros((1, 4, 4)), "control of dtype float64"),
        ("edges", "control of dtype"),
    ],
)
def test_what_is_no_control_is_refused(control, said):
    with pytest.raises((InputError, ShapeError), match=said):
        run(control)


def test_a_model_without_control_takes_none():
    call = backends.table("numpy"), stand_in(PLAIN), PLAIN, plans.plan((4, 4)), [0]
    with pytest.raises(InputError, match="takes none; leave them out, or load arpg-mn"):
        sample.steps(*call, control=controls(1, 0))


def test_the_field_changes_no_hash_of_a_model_without_it():
    assert "control" not in to_dict(PLAIN) and to_dict(CONFIG)["control"] == 5
    plain = stand_in(PLAIN)
    flat = names.flatten({**plain, "control": WEIGHTS["control"]})
    assert hash_weights(CONFIG, flat) != hash_weights(PLAIN, names.flatten(plain))


def test_a_file_of_it_is_recognised():
    for config in (CONFIG, PRESETS["arpg-mnist-control"], PRESETS["arpg-mnist"]):
        shapes = names.manifest(config)
        state = {name: np.broadcast_to(np.float32(0), s) for name, s in shapes.items()}
        found, unseen = names.recognise(state)
        assert found.control == config.control
        assert config not in PRESETS.values() or (found, unseen) == (config, ())
