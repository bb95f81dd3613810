"""The VQ tokenizer: shapes, names, backends that agree, images that stay apart."""

import numpy as np
import pytest

from minigen import backends
from minigen.checkpoints import names
from minigen.families import VqConfig
from minigen.models import vq
from tests.models.stand_in import stand_in as weights
from tests.tolerance import assert_same

SMALL = VqConfig(base=32, multipliers=(1, 2), latent=16, codes=40, code_size=8)
DEEP = VqConfig(base=32, multipliers=(1, 1, 2), latent=8, codes=24, code_size=4)
RAW = VqConfig(base=32, multipliers=(1, 1), latent=16, codes=24, unit_codes=False)


def images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def tokens(config, *shape):
    return np.random.default_rng(0).integers(0, config.codes, shape)


@pytest.mark.parametrize("config", [SMALL, DEEP, RAW], ids=["small", "deep", "raw"])
def test_sides_shrink_by_the_factor_and_grow_back(ops, config):
    w, (rows, columns) = weights(config), (3, 2)
    x = images(2, rows * config.factor, columns * config.factor, 3)
    h = vq.encode(ops, w, config, x)
    assert h.shape == (2, rows, columns, config.code_size)
    ids = vq.quantise(ops, w, config, h)
    assert ids.shape == (2, rows, columns) and ids.dtype == np.int64
    out = vq.decode(ops, w, config, ids)
    assert out.shape == x.shape and out.dtype == np.float32


def test_odd_sides_are_rounded_down(ops):
    w = weights(SMALL)
    h = vq.encode(ops, w, SMALL, images(1, 15, 9, 3))
    assert vq.decode(ops, w, SMALL, vq.quantise(ops, w, SMALL, h)).shape[1:3] == (14, 8)


def test_codes_are_found_again(ops):
    # a code lies at distance zero from itself, whatever its length was
    for config in (SMALL, RAW):
        w = weights(config)
        ids = tokens(config, 2, 3, 5)
        rows = w["codebook"][ids]
        rows = rows * np.float32(3) if config.unit_codes else rows
        assert (vq.quantise(ops, w, config, rows) == ids).all()


def test_decoding_tokens_is_decoding_their_codes(ops):
    w, ids = weights(SMALL), tokens(SMALL, 1, 4, 3)
    z = vq.codes(ops, w, SMALL)[ids]
    assert np.allclose(np.sqrt((z * z).sum(-1)), 1, atol=1e-6)
    assert_same(vq.decode_latent(ops, w, SMALL, z), vq.decode(ops, w, SMALL, ids))


def test_watching_changes_nothing_and_sees_every_block(ops):
    w, x, ids = weights(DEEP), images(1, 8, 8, 3), tokens(DEEP, 1, 2, 2)
    seen = {}
    h = vq.encode(ops, w, DEEP, x, watch=seen.__setitem__)
    out = vq.decode(ops, w, DEEP, ids, watch=seen.__setitem__)
    assert_same(h, vq.encode(ops, w, DEEP, x))
    assert_same(out, vq.decode(ops, w, DEEP, ids))
    assert_same(seen["quant_conv"], h)
    assert_same(seen["decoder.conv_out"], out)
    # every name is that of a module which has weights below it, and none is left out
    modules = {name.rsplit(".", 1)[0] for name in names.manifest(DEEP)}
    inner = (".norm1", ".norm2", ".conv1", ".conv2", ".norm", ".q", ".k", ".v", ".conv")
    inner += (".nin_shortcut", ".proj_out")
    blocks = {m.rsplit(".", 1)[0] if m.endswith(inner) else m for m in modules}
    assert set(seen) == {b for b in blocks if not b.startswith("quantize")}


def test_an_image_ignores_the_others_in_its_batch():
    ops = backends.table("numba")
    w, x, ids = weights(DEEP), images(3, 12, 8, 3), tokens(DEEP, 3, 3, 2)
    h, out = vq.encode(ops, w, DEEP, x), vq.decode(ops, w, DEEP, ids)
    for i in range(3):
        assert_same(vq.encode(ops, w, DEEP, x[i : i + 1]), h[i : i + 1])
        assert_same(vq.decode(ops, w, DEEP, ids[i : i + 1]), out[i : i + 1])


def test_backends_agree():
    # the golden cases allow 1e-5 too, for images of this size and these weights
    numpy, numba = backends.table("numpy"), backends.table("numba")
    for config in (SMALL, DEEP, RAW):
        w, x = weights(config), images(2, 8, 16, 3)
        one, other = (vq.encode(ops, w, config, x) for ops in (numpy, numba))
        assert abs(one - other).max() < 1e-5
        ids = vq.quantise(numpy, w, config, one)
        one, other = (vq.decode(ops, w, config, ids) for ops in (numpy, numba))
        assert abs(one - other).max() < 2e-5
