"""The KL tokenizer: shapes, names, containers, backends that agree, images apart."""

import numpy as np
import pytest

from minigen import backends
from minigen.checkpoints import convert, load_model, names
from minigen.errors import CheckpointError, ConfigError
from minigen.families import PRESETS, KlConfig, from_dict, to_dict
from minigen.models import kl
from tests.models.stand_in import stand_in as weights
from tests.models.stand_in import stand_in_state
from tests.tolerance import assert_same

SMALL = KlConfig(
    base=32, multipliers=(1, 2), blocks=1, channels=4, attention=(1,), scale=0.5
)
DEEP = KlConfig(
    base=32, multipliers=(1, 1, 2), channels=3, attention=(0, 2), decoder_attention=(1,)
)
MEANS = KlConfig(base=32, multipliers=(1, 1), blocks=1, attention=(), variational=False)
CONFIGS = pytest.mark.parametrize(
    "config", [SMALL, DEEP, MEANS], ids=["small", "deep", "means"]
)


def normals(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@CONFIGS
def test_sides_shrink_by_the_factor_and_grow_back(ops, config):
    w, (rows, columns) = weights(config), (3, 2)
    x = images(2, rows * config.factor, columns * config.factor, 3)
    grid = (2, rows, columns, config.channels)
    mean, log_variance = kl.posterior(ops, config, kl.encode(ops, w, config, x))
    assert mean.shape == log_variance.shape == grid
    samples = kl.sample(ops, mean, log_variance, normals(*grid))
    out = kl.decode(ops, w, config, samples)
    assert out.shape == x.shape and out.dtype == np.float32


def test_odd_sides_are_rounded_down(ops):
    w = weights(SMALL)
    moments = kl.encode(ops, w, SMALL, images(1, 15, 9, 3))
    mean, _ = kl.posterior(ops, SMALL, moments)
    assert kl.decode(ops, w, SMALL, mean).shape[1:3] == (14, 8)


def test_the_posterior_is_within_limits_and_its_mean_is_drawn_without_noise(ops):
    moments = 40 * normals(2, 3, 5, 2 * SMALL.channels)
    mean, log_variance = kl.posterior(ops, SMALL, moments)
    assert_same(np.asarray(mean), moments[..., :4].copy())
    assert log_variance.min() == -30 and log_variance.max() == 20
    assert (kl.sample(ops, mean, log_variance, 0 * mean) == mean).all()


def test_means_alone_have_the_log_variance_one(ops):
    # the original's ones stand for the logarithm, not for the variance
    mean = normals(1, 2, 2, MEANS.channels)
    same, log_variance = kl.posterior(ops, MEANS, mean)
    assert_same(np.asarray(same), mean)
    assert (log_variance == 1).all()


def test_latents_and_samples_are_a_scale_apart(ops):
    samples = normals(1, 2, 3, SMALL.channels)
    latents = kl.to_latents(ops, SMALL, samples)
    assert_same(latents, samples / np.float32(2))
    assert_same(kl.from_latents(ops, SMALL, latents), samples)


@CONFIGS
def test_watching_changes_nothing_and_sees_every_block(ops, config):
    w, x = weights(config), images(1, 8, 8, 3)
    z = normals(1, 8 // config.factor, 8 // config.factor, config.channels)
    seen = {}
    moments = kl.encode(ops, w, config, x, watch=seen.__setitem__)
    out = kl.decode(ops, w, config, z, watch=seen.__setitem__)
    assert_same(moments, kl.encode(ops, w, config, x))
    assert_same(out, kl.decode(ops, w, config, z))
    assert_same(seen["quant_conv"], moments)
    assert_same(seen["decoder.conv_out"], out)
    # every name is that of a module which has weights below it, and none is left out
    modules = {name.rsplit(".", 1)[0] for name in names.manifest(config)}
    inner = (".norm1", ".norm2", ".conv1", ".conv2", ".norm", ".q", ".k", ".v", ".conv")
    inner += (".nin_shortcut", ".proj_out")
    blocks = {m.rsplit(".", 1)[0] if m.endswith(inner) else m for m in modules}
    assert set(seen) == blocks


def test_an_image_ignores_the_others_in_its_batch():
    ops = backends.table("numba")
    w, x, z = weights(DEEP), images(3, 12, 8, 3), normals(3, 3, 2, DEEP.channels)
    moments, out = kl.encode(ops, w, DEEP, x), kl.decode(ops, w, DEEP, z)
    for i in range(3):
        assert_same(kl.encode(ops, w, DEEP, x[i : i + 1]), moments[i : i + 1])
        assert_same(kl.decode(ops, w, DEEP, z[i : i + 1]), out[i : i + 1])


@CONFIGS
def test_backends_agree(config):
    # the golden cases allow 1e-5 too, for images of this size and these weights
    numpy, numba = backends.table("numpy"), backends.table("numba")
    w, x, z = weights(config), images(2, 8, 16, 3), normals(2, 4, 2, config.channels)
    one, other = (kl.encode(ops, w, config, x) for ops in (numpy, numba))
    assert abs(one - other).max() < 2e-5
    one, other = (kl.decode(ops, w, config, z) for ops in (numpy, numba))
    assert abs(one - other).max() < 2e-5


def test_the_halves_differ_where_the_original_is_told_nothing():
    kl16 = KlConfig.from_upstream({"embed_dim": 16, "ch_mult": [1, 1, 2, 2, 4]})
    assert kl16 == PRESETS["kl-16"]
    assert (kl16.attention, kl16.decoder_attention) == ((4,), ())
    arguments = {
        "embed_dim": 16,
        "ch_mult": [1, 1, 2, 2, 4],
        "attn_resolutions": [16, 64],
    }
    both = KlConfig.from_upstream(arguments)
    assert both.attention == both.decoder_attention == (2, 4)
    half = KlConfig.from_upstream({**arguments, "resolution": 128})
    assert half.attention == half.decoder_attention == (1, 3)


@CONFIGS
def test_sizes_survive_json_and_are_told_from_shapes(config):
    assert from_dict(to_dict(config)) == config
    found, unseen = names.recognise(stand_in_state(config))
    assert unseen == ("scale",)
    assert {k: v for k, v in vars(found).items() if k != "scale"} == {
        k: v for k, v in vars(config).items() if k != "scale"
    }


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"base": 48}, "multiples of 32"),
        ({"multipliers": ()}, "multiples of 32"),
        ({"attention": (5,)}, r"its levels are 0 \.\. 4"),
        ({"decoder_attention": (-1,)}, r"expected integers of 0 \.\. "),
        ({"scale": 0.0}, "above 0"),
        ({"channels": 0}, r"an integer of 1 \.\. "),
    ],
)
def test_sizes_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        KlConfig(**wrong)


@pytest.mark.needs("safetensors")
def test_a_converted_file_keeps_the_scale(tmp_path):
    from safetensors.numpy import save_file

    state = stand_in_state(SMALL)
    save_file(state, tmp_path / "kl.safetensors")
    report = convert(
        tmp_path / "kl.safetensors", tmp_path / "ours.safetensors", config=SMALL
    )
    assert report.family == "kl" and report.unseen == ()
    model = load_model(tmp_path / "ours.safetensors")
    assert model.config == SMALL
    ours, expected = names.flatten(model.weights), names.flatten(weights(SMALL))
    assert set(ours) == set(expected)
    for name in expected:
        assert_same(np.asarray(ours[name]), expected[name])


def test_what_training_alone_needs_is_dropped():
    state = stand_in_state(SMALL)
    more = {"loss.logvar": 0, "loss.discriminator.main.0.weight": 1}
    more |= {"foundation_model.norm.weight": 2, "linear_proj.weight": 3}
    more = {name: np.zeros(1, np.float32) for name in more}
    tree = names.to_tree(SMALL, state | more)
    assert set(names.flatten(tree)) == set(names.flatten(weights(SMALL)))
    with pytest.raises(CheckpointError, match="1 arrays are left over"):
        names.to_tree(SMALL, state | {"losses": np.zeros(1, np.float32)})
