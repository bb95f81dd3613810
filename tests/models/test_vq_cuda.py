"""The VQ tokenizer wholly on a device: every launch interpreted, against NumPy.

Sides of one pixel at the deepest level would leave groups of a few numbers, whose
deviation may be anything: so the images are a little larger than that. The allowance is
that of two CPU backends (test_vq.py).
"""

import numpy as np
import pytest

from minigen import arrays, backends
from minigen.families import VqConfig
from minigen.models import vq
from tests.models.stand_in import stand_in
from tests.models.test_vq import images, tokens

# two levels: one upsampling, one halving convolution
TINY = VqConfig(base=32, multipliers=(1, 1), latent=8, codes=24, code_size=4)


def put(device, tree):
    """Return nested weights with every array on the device."""
    if isinstance(tree, dict):
        return {name: put(device, value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [put(device, value) for value in tree]
    return device.put(tree)


@pytest.fixture(scope="module")
def weights():
    return stand_in(TINY)


@pytest.fixture
def ops():
    return backends.table("interpreter", arrays.Interpreter(seed=3))


def test_a_grid_of_tokens_becomes_the_same_image(ops, weights):
    ids = tokens(TINY, 1, 2, 2)
    expected = vq.decode(backends.table("numpy"), weights, TINY, ids)
    out = vq.decode(ops, put(ops.device, weights), TINY, ops.put(ids))
    assert expected.shape == out.shape == (1, 4, 4, 3)
    assert abs(ops.get(out) - expected).max() < 2e-5


def test_an_image_becomes_the_same_tokens(ops, weights):
    x, reference = images(1, 4, 4, 3), backends.table("numpy")
    moved = put(ops.device, weights)
    expected = vq.encode(reference, weights, TINY, x)
    h = vq.encode(ops, moved, TINY, ops.put(x))
    assert abs(ops.get(h) - expected).max() < 1e-5
    ids = ops.get(vq.quantise(ops, moved, TINY, h))
    assert ids.dtype == np.int64
    assert (ids == vq.quantise(reference, weights, TINY, expected)).all()
