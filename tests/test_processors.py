"""The same bits on every processor: kernels compiled for others, run on this one."""

import numpy as np
import pytest

from tests import parts, processors
from tests.processors import differing, names

pytest.importorskip("numba")

pytestmark = pytest.mark.needs("hypothesis")

OTHERS = [
    pytest.param(name, marks=pytest.mark.on(name)) for name in ("AVX2", "AVX-512")
]

SUMS = "linear", "rms_norm", "layer_norm", "attention", "probabilities", "mamba2_step"
"""Ops that add up rows in each of the ways there are."""


@pytest.mark.on("AVX2")
def test_sums_have_the_same_bits_in_shorter_vectors():
    assert differing(SUMS, ("host", "AVX2")) == []


@pytest.mark.on("old")
def test_a_processor_without_fused_steps_and_halves_has_the_same_bits():
    """There LLVM calls functions for both, of which one is not there: `cpu/half.py`."""
    assert differing(["linear", "silu"], ("host", "old")) == []


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_every_op_and_every_model_has_the_same_bits(other):
    every = names()
    first, count = parts.share(len(every))
    assert differing(every[first : first + count], ("host", other)) == []


def test_a_difference_is_found(monkeypatch):
    one = [("case 0", "a"), ("case 1", "b"), ("case 2", "c")]
    monkeypatch.setattr(processors, "cases_of", lambda name: [])
    found = {
        "host": {"gelu": one},
        "AVX2": {"gelu": [*one[:1], ("case 1", "d"), one[2]]},
    }
    monkeypatch.setattr(processors, "digests", lambda path, name: found[name])
    assert differing(["gelu"], ("host", "AVX2")) == [
        "gelu: host and AVX2: 1 of 3 results differ, the first is case 1"
    ]


def test_one_bit_is_another_digest_and_nan_is_nan():
    zero, near, lost, other = np.float32([0, 1e-45, np.nan, -np.nan])
    assert processors.digest(zero) != processors.digest(near)
    assert processors.digest(zero) != processors.digest(-zero)
    assert processors.digest(lost) == processors.digest(other)
