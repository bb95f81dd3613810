"""Details of a step: nothing of the run changes, and they are what they say."""

import numpy as np
import pytest

from minigen import arrays, backends, plans, sample
from minigen.errors import InputError
from minigen.models import arpg
from minigen.sample import Options
from tests import test_recorded
from tests.models.stand_in import stand_in
from tests.test_known import CONFIGS, RASTER, WEIGHTS, plan_of, tokens_of
from tests.test_masked import CONFIGS as MASKED
from tests.test_sample import LOGIT_ERROR
from tests.tolerance import assert_same

CODES = pytest.mark.parametrize("family", ["arpg", *RASTER])
PROBABILITY_ERROR = 100 * LOGIT_ERROR


def run(family, plan, known, backend, details, **how):
    options = Options(**{"guidance": 2.5, **how})
    call = backends.table(backend), WEIGHTS[family], CONFIGS[family], plan, [0, 2]
    return list(sample.steps(*call, 7, options, known, details=details))


@CODES
@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("reading", ["block", "causal"])
def test_they_change_nothing(family, name, reading):
    plan = plan_of(family, (3, 9))
    known, how = tokens_of(family, plan, 2, 1), {}
    if family == "arpg":
        how = {"reading": reading, "known_reading": reading, "guided_steps": 2}
    plain = run(family, plan, known, name, False, **how)
    more = run(family, plan, known, name, True, **how)
    for one, other in zip(plain, more, strict=True):
        assert one.details is None and other.details is not None
        for field in ("positions", "tokens", "probabilities", "canvas"):
            assert_same(getattr(one, field), getattr(other, field))


@CODES
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_they_hold_what_the_step_drew_from(family, backend, guidance):
    plan = plan_of(family, (3, 9))
    known = tokens_of(family, plan, 2, 1)
    read = [*plan.known]
    for step in run(family, plan, known, backend, True, guidance=guidance):
        found, n = step.details, len(plan.known + plan.order)
        assert found.known.tolist() == [read] * 2
        left = [p for p in range(n) if p not in read]
        asked = left if family == "arpg" else left[:1]
        assert found.positions.tolist() == [asked] * 2
        places = [asked.index(p) for p in step.positions]
        off = np.abs(found.probabilities[:, places] - step.probabilities)
        assert off.max() <= PROBABILITY_ERROR
        guided = found.conditional
        if found.unconditional is None:
            assert family == "gpt" and guidance == 1
        else:
            u = found.unconditional
            guided = u + np.float32(step.weight) * (guided - u)
        powers = np.exp(guided - guided.max(-1, keepdims=True))
        p = powers / powers.sum(-1, keepdims=True)
        assert np.abs(p - found.probabilities).max() <= PROBABILITY_ERROR
        read += step.positions.tolist()


def test_attention_reads_the_class_and_all_that_is_known(backend):
    plan = plan_of("arpg", (3, 9))
    for step in run("arpg", plan, np.array([[1, 2], [3, 4]]), backend, True):
        found = step.details
        b, layers, heads, u, keys = found.attention.shape
        assert (b, layers, heads) == (2, CONFIGS["arpg"].half, CONFIGS["arpg"].heads)
        assert (u, keys) == (found.positions.shape[1], 1 + found.known.shape[1])
        assert np.abs(found.attention.sum(-1) - 1).max() < 1e-5
        assert found.attention.dtype == np.float32


def test_in_turn_is_what_reading_in_turn_gives(backend):
    """The probabilities of a step's tokens, each told of those before it."""
    ops, config = backends.table(backend), CONFIGS["arpg"]
    plan = plan_of("arpg", (3, 9))
    steps = run("arpg", plan, np.array([[1, 2], [3, 4]]), backend, True, guidance=1.0,
                reading="causal")  # fmt: skip
    tokens, order = steps[-1].canvas.reshape(2, -1), (*plan.known, *plan.order)
    table = arpg.rotary_table(ops, config)
    call = ops, WEIGHTS["arpg"], config, tokens, [0, 2], np.tile(order, (2, 1)), table
    p = ops.probabilities(arpg.forward(*call), 1.0, 0, 1.0)
    p = np.take_along_axis(p, tokens[:, order][..., None], -1)[..., 0]
    found = np.concatenate([step.details.in_turn for step in steps], axis=1)
    assert np.abs(found - p[:, 2:]).max() <= PROBABILITY_ERROR
    for step in steps:
        drawn = np.take_along_axis(step.probabilities, step.tokens[..., None], -1)
        off = np.abs(step.details.in_turn - drawn[..., 0])
        # the first of a step has seen what it has seen
        assert off[:, 0].max() <= PROBABILITY_ERROR


@pytest.mark.parametrize("order", ["random-each", "confidence"])
def test_images_in_orders_of_their_own(order):
    plan = plans.plan((4, 4), order, "linear", 4)
    for step in run("arpg", plan, None, "numba", True):
        for i in range(2):
            assert {*step.positions[i]} <= {*step.details.positions[i]}
            places = [step.details.positions[i].tolist().index(p)
                      for p in step.positions[i]]  # fmt: skip
            p = step.details.probabilities[i, places]
            assert np.abs(p - step.probabilities[i]).max() <= PROBABILITY_ERROR


@pytest.mark.needs("compiler")
def test_on_a_device():
    config = test_recorded.CONFIG
    plan = plans.plan((1, 3), "raster", "linear", 1)
    ops = backends.table("ptx", arrays.Ptx())
    tables = [backends.table("numpy"), ops]
    one, other = (
        next(sample.steps(table, backends.move(table, stand_in(config)), config, plan,
                          [1], details=True))
        for table in tables
    )  # fmt: skip
    assert_same(one.tokens, other.tokens)
    for field in ("probabilities", "attention", "in_turn"):
        off = getattr(one.details, field) - getattr(other.details, field)
        assert np.abs(off).max() <= PROBABILITY_ERROR


@pytest.mark.parametrize("family", MASKED)
def test_vectors_have_none(family):
    with pytest.raises(InputError, match="are vectors, .* leave details out"):
        run(family, plan_of(family, ()), None, "numpy", True)


@CODES
def test_keeps_are_the_bytes_of_what_was_read(family, backend):
    """A cache grows by a token for each that was read, and a state does not."""
    plan = plan_of(family, (3, 9))
    steps = run(family, plan, tokens_of(family, plan, 2, 1), backend, True)
    kept = [step.details.keeps for step in steps]
    if family.startswith("aim"):
        assert len({*kept}) == 1 and kept[0] > 0
    else:
        read = [1 + step.details.known.shape[1] for step in steps]
        assert len({k / n for k, n in zip(kept, read, strict=True)}) == 1 and kept[0]
