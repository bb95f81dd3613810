"""MAR: a diffusion that knows the density draws from it; tokens ignore each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import backends, plans
from minigen.checkpoints import names
from minigen.errors import ConfigError
from minigen.families import PRESETS, MarConfig, from_dict, to_dict
from minigen.models import diffusion_head
from minigen.models.query import Draws
from minigen.sample import Options
from tests import masked_runs
from tests.models.stand_in import stand_in_state
from tests.tolerance import EPS, assert_same

SMALL = MarConfig(
    width=24,
    encoder_width=16,
    encoder_layers=2,
    decoder_layers=2,
    encoder_heads=2,
    decoder_heads=3,
    buffer=3,
    classes=5,
    tokens=9,
    channels=4,
    head_width=32,
    head_layers=2,
    noise_steps=10,
)
KEY = np.array([7, 0], np.uint32)
TABLE = diffusion_head.table(SMALL)


@pytest.fixture(scope="module")
def weights():
    state = stand_in_state(SMALL)
    for name in state:
        # a head fitted to nothing predicts noise that is not there; so it predicts less
        if name.startswith("diffloss.net.final_layer.linear") or "embed" in name:
            state[name] = state[name] * np.float32(0.1)
    return names.to_tree(SMALL, state)


def draws(count, first=0):
    images = np.arange(first, first + count)
    return Draws(KEY, images, np.zeros_like(images), 0)


def conditions(count):
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, 1, SMALL.width), np.float32)


def close(one, other):
    """Assert that two ways to draw the same tokens agree: 10 steps of 2 layers."""
    one, other = np.asarray(one), np.asarray(other)
    assert abs(one - other).max() <= 1000 * EPS * abs(other).max()


counts = st.sampled_from((2, 3, 7, 10, 25, 50, 100, 250, 999, 1000))


@given(counts)
def test_a_schedule_goes_from_the_first_step_to_the_last(count):
    made = diffusion_head.schedule(count)
    assert len(made.timesteps) == count
    assert (made.timesteps[0], made.timesteps[-1]) == (0, 999)
    assert (np.diff(made.timesteps) > 0).all() and np.diff(made.timesteps).max() < 1000
    # even: no stride is a step longer than another, but for rounding
    assert np.ptp(np.diff(made.timesteps)) <= 1
    assert (np.diff(made.alphas_cumprod) < 0).all()
    assert 0 < made.alphas_cumprod[-1] < 1e-8 and made.alphas_cumprod[0] > 0.9999
    assert (made.betas > 0).all() and (made.betas < 1).all()
    # the variance of a step back is less than that of the step forth
    assert (made.posterior_log_variance <= np.log(made.betas) + 1e-12).all()


@given(counts, counts)
def test_what_is_left_at_a_step_does_not_depend_on_how_many_are_taken(one, other):
    one, other = map(diffusion_head.schedule, (one, other))
    _, here, there = np.intersect1d(one.timesteps, other.timesteps, return_indices=True)
    # a beta near 1 loses digits: what is left after it is its distance from 1
    assert np.allclose(
        one.alphas_cumprod[here], other.alphas_cumprod[there], rtol=1e-9, atol=1e-13
    )


@given(counts)
def test_a_step_back_undoes_a_step_forth_on_average(count):
    # of x = sqrt(alphas_cumprod) x_0, without noise, the mean of the step before is
    # what it was: sqrt(alphas_cumprod before) x_0
    made = diffusion_head.schedule(count)
    before = np.sqrt(np.append(1.0, made.alphas_cumprod[:-1]))
    signal, noise = np.sqrt(made.alphas_cumprod), np.sqrt(1 - made.alphas_cumprod)
    coef1, coef2 = made.posterior_mean_coef1, made.posterior_mean_coef2
    assert np.allclose(coef1 + coef2 * signal, before)
    for i in range(count):
        of_x, of_noise, lowest, highest = made.step(i)
        # and if all the noise is predicted, it is the same with noise in x
        x = signal[i] * 3.0 + noise[i] * 0.5
        mean = coef1[i] * 3.0 + coef2[i] * x
        assert abs(of_x * x + of_noise * 0.5 - mean) < 1e-9
        assert lowest <= highest + 1e-12


def test_timesteps_are_told_apart():
    seen = diffusion_head.timestep_embedding(np.arange(1000), 256)
    assert seen.shape == (1000, 256) and seen.dtype == np.float32
    # a point on 128 circles
    assert np.allclose(seen[:, :128] ** 2 + seen[:, 128:] ** 2, 1, atol=1e-6)
    apart = np.linalg.norm(seen[:, None, ::8] - seen[None, :, ::8], axis=-1)
    assert (apart + 9 * np.eye(1000) > 0.3).all()


@pytest.mark.parametrize("guidance", [1, 2.0])
def test_a_head_that_knows_the_density_draws_from_it(monkeypatch, ops, guidance):
    # tokens of mean 3 and deviation 0.5 or, without a condition, of mean 2: the noise
    # in x, and mean and variance of the step before, are known exactly
    count, n, config = 50, 20_000, MarConfig(channels=1, noise_steps=50)
    made = diffusion_head.schedule(count)
    weights = {
        "features": {"w": np.zeros((4, 1), np.float32)},
        "condition": {
            "w": np.zeros((4, 4), np.float32),
            "bias": np.zeros(4, np.float32),
        },
        "layers": (),
    }
    seen = iter(reversed(range(count)))

    def denoise(ops, w, x, conditioning, watch=None):
        i = next(seen)
        signal = np.sqrt(made.alphas_cumprod[i])
        noise = np.sqrt(1 - made.alphas_cumprod[i])
        lowest = made.posterior_log_variance[i]
        mean = np.where(np.arange(len(x)) < n, 3.0, 2.0)[:, None, None]
        together = 0.25 * signal**2 + noise**2
        predicted = noise * (x - signal * mean) / together
        # what is not known of the token adds to the variance of the step
        variance = np.exp(lowest)
        variance += made.posterior_mean_coef1[i] ** 2 * 0.25 * noise**2 / together
        reach = np.log(made.betas[i]) - lowest
        between = 2 * (np.log(variance) - lowest) / max(reach, 1e-9) - 1
        return predicted.astype(np.float32), np.full_like(x, between)

    monkeypatch.setattr(diffusion_head, "denoise", denoise)
    monkeypatch.setattr(
        diffusion_head, "embed_timesteps", lambda *_: np.zeros((count, 4), np.float32)
    )
    z = np.zeros((n if guidance == 1 else 2 * n, 1, 4), np.float32)
    call, table = (ops, weights, config, z), ops.put(diffusion_head.table(config))
    x = np.asarray(diffusion_head.sample(*call, draws(n), table, guidance))
    # guided, the noise of mean 2 m_c - m_u: both densities have the same deviation
    expected = 3.0 if guidance == 1 else 4.0
    # within four deviations of a mean, and of a deviation, of so many
    assert abs(x.mean() - expected) < 4 * 0.5 / np.sqrt(n)
    assert abs(x.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * n)


def test_a_token_ignores_the_others_drawn_with_it(weights):
    ops = backends.table("numba")
    w, z = weights["head"], conditions(6)
    for guidance, whole in ((1, z[:3]), (2.5, z)):
        call = ops, w, SMALL
        together = np.asarray(
            diffusion_head.sample(*call, whole, draws(3), TABLE, guidance)
        )
        for i in range(3):
            alone = diffusion_head.sample(
                *call, np.ascontiguousarray(whole[i::3]), draws(1, i), TABLE, guidance
            )
            assert_same(np.asarray(alone), together[i : i + 1])


def test_guidance_away_from_the_same_changes_nothing(ops, weights):
    z, w = conditions(3), weights["head"]
    plain = diffusion_head.sample(ops, w, SMALL, z, draws(3), TABLE)
    twice = np.concatenate([z, z])
    close(diffusion_head.sample(ops, w, SMALL, twice, draws(3), TABLE, 3.0), plain)
    # and with other conditions it changes something
    other = np.concatenate([z, -z])
    guided = diffusion_head.sample(ops, w, SMALL, other, draws(3), TABLE, 3.0)
    assert abs(np.asarray(guided) - plain).max() > 0.01


def test_guidance_near_one_is_near_none(ops, weights):
    z, w = conditions(6), weights["head"]
    plain = diffusion_head.sample(ops, w, SMALL, z[:3], draws(3), TABLE)
    close(diffusion_head.sample(ops, w, SMALL, z, draws(3), TABLE, 1 + 2 * EPS), plain)


def test_temperature_is_that_of_the_noise_added(ops, weights):
    call = ops, weights["head"], SMALL, conditions(2), draws(2), TABLE
    seen = {}

    def watch(name, step):
        i, x, mean, log_variance = (np.array(each) for each in step)
        seen[int(i)] = x, mean, log_variance

    for temperature in (0.0, 0.5, 1.0):
        seen.clear()
        last = np.asarray(diffusion_head.sample(*call, 1, temperature, watch))
        assert sorted(seen) == list(range(SMALL.noise_steps))
        noise = [
            (seen[i - 1][0] - seen[i][1]) / np.exp(seen[i][2] / 2)
            for i in range(1, SMALL.noise_steps)
        ]
        # of 72 normal numbers times the temperature
        assert temperature * 0.7 <= np.std(noise) <= temperature * 1.3
        # the last step adds none
        assert_same(last, seen[0][1])


def test_a_run_draws_every_token_once(ops, weights):
    plan = plans.plan((3, 3), "random", "cosine", steps=4, seed=5)
    groups = [np.tile(group, (2, 1)) for group in plan.groups]
    options = Options(guidance=2.0, guidance_schedule="linear")
    call = ops, weights, SMALL, [1, 4], groups, options, (KEY, np.arange(2))
    drawn = list(masked_runs.run(*call))
    canvas = drawn[-1][2]
    assert sorted(np.concatenate(groups, 1)[0].tolist()) == list(range(9))
    for positions, (tokens, _, _) in zip(groups, drawn, strict=True):
        for i in range(2):
            assert (canvas[i, np.sort(positions[i])] == tokens[i]).all()
    heights = [weight for _, weight, _ in drawn]
    assert heights == sorted(heights) and heights[0] > 1 and heights[-1] < 2


def test_an_image_of_a_run_ignores_the_others(weights):
    ops = backends.table("numba")
    plan = plans.plan((3, 3), "random", "cosine", steps=3, seed=5)
    options = Options(guidance=2.0, guidance_schedule="constant")

    def run(labels, images):
        groups = [np.tile(group, (len(labels), 1)) for group in plan.groups]
        numbers = KEY, np.array(images)
        steps = masked_runs.run(ops, weights, SMALL, labels, groups, options, numbers)
        return list(steps)[-1][2]

    together = run([1, 4, 0], [0, 1, 2])
    assert_same(run([4], [1]), together[1:2])
    assert abs(run([3], [1]) - together[1:2]).max() > 1e-3


@settings(max_examples=10)
@given(
    st.sampled_from((16, 64, 128)),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 40),
)
def test_sizes_follow_from_shapes(width, layers, head_layers, channels, tokens):
    config = MarConfig(
        width=width,
        encoder_width=2 * width,
        encoder_layers=layers,
        decoder_layers=layers + 1,
        encoder_heads=max(1, width // 32),
        decoder_heads=max(1, width // 64),
        buffer=5,
        classes=3,
        tokens=tokens,
        channels=channels,
        head_width=width,
        head_layers=head_layers,
    )
    assert from_dict(to_dict(config)) == config
    state = {
        name: np.broadcast_to(np.float32(0), shape)
        for name, shape in names.manifest(config).items()
    }
    assert names.recognise(state)[0] == config


def test_the_original_s_arguments():
    arguments = {
        "img_size": 256, "vae_stride": 16, "patch_size": 1, "encoder_embed_dim": 768,
        "encoder_depth": 12, "encoder_num_heads": 12, "decoder_embed_dim": 768,
        "decoder_depth": 12, "decoder_num_heads": 12, "vae_embed_dim": 16,
        "buffer_size": 64, "diffloss_d": 6, "diffloss_w": 1024, "class_num": 1000,
        "num_sampling_steps": "100", "diffusion_batch_mul": 4,
    }  # fmt: skip
    assert MarConfig.from_upstream(arguments) == PRESETS["mar-b"]
    for wrong in ({"noise_steps": 1}, {"noise_steps": 1001}, {"decoder_heads": 7}):
        with pytest.raises(ConfigError):
            MarConfig(**wrong)
