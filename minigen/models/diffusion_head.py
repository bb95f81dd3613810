"""MAR's head: a token is drawn by taking the noise out of it, step by step.

A small network reads the noisy token. It is conditioned on the output of the outer
model at that position and on the timestep, which modulate each of its layers. It
predicts the noise and the variance of the step. From both follows a normal
distribution, from which the token of the step before is drawn.

Source: arXiv 2406.11838 (MAR), section 3.2; LTH14/mar models/diffloss.py, diffusion/;
arXiv 2006.11239 (DDPM); arXiv 2102.09672 (its cosine schedule and learned variance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from minigen.models.layers import split_columns
from minigen.models.watching import tell

EPS = 1e-6

STEPS = 1000
"""Timesteps in which training adds noise to a token."""

FREQUENCIES = 256
"""Size of the timestep embedding: its cosines and sines."""

MAX_PERIOD = 10000.0
"""Longest period of the timestep embedding, as a multiple of the shortest."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """The noise of the s steps that a draw takes, in arrays (s), least noise first.

    timesteps: their numbers in training, int64; all else is float64. betas: the
    variance that a step adds; alphas_cumprod: the share of the signal's variance that
    is left after it; posterior_mean_coef1, posterior_mean_coef2: coefficients of x_0
    (the token) and x_t in the posterior mean of x_{t-1}; posterior_log_variance: of
    x_{t-1} if x_0 were known, the smallest log-variance of a step (the largest is
    log betas).
    """

    timesteps: np.ndarray
    betas: np.ndarray
    alphas_cumprod: np.ndarray
    posterior_mean_coef1: np.ndarray
    posterior_mean_coef2: np.ndarray
    posterior_log_variance: np.ndarray

    def step(self, i):
        """Return the four numbers that `reverse_step` takes at step i.

        They are the coefficients of x and of the noise in the mean, and the smallest
        and the largest log-variance. The predicted token is (x - sqrt(1 - a) noise) /
        sqrt(a), where a is alphas_cumprod. If a is near 0, that is a difference of huge
        numbers; so it is never computed, and its two terms go into the coefficients.
        """
        coef1, coef2 = self.posterior_mean_coef1[i], self.posterior_mean_coef2[i]
        signal = math.sqrt(self.alphas_cumprod[i])
        noise = math.sqrt(1 - self.alphas_cumprod[i])
        of_x, of_noise = coef1 / signal + coef2, -coef1 * noise / signal
        lowest, highest = self.posterior_log_variance[i], math.log(self.betas[i])
        return float(of_x), float(of_noise), lowest, highest


@cache
def schedule(count):
    """Return the Schedule of a draw in `count` of the STEPS timesteps, at least two.

    Source: LTH14/mar diffusion/gaussian_diffusion.py, respace.py.

    >>> schedule(10).timesteps.tolist()
    [0, 111, 222, 333, 444, 555, 666, 777, 888, 999]
    """
    trained = np.cumprod(1 - np.array([_beta(i) for i in range(STEPS)]))
    timesteps = np.array(_spread(count))
    before = np.append(1.0, trained[timesteps[:-1]])
    betas = 1 - trained[timesteps] / before
    alphas_cumprod = np.cumprod(1 - betas)
    before = np.append(1.0, alphas_cumprod[:-1])
    variances = betas * (1 - before) / (1 - alphas_cumprod)
    # the first is 0, which has no logarithm: it gets that of the second
    variances[0] = variances[1]
    return Schedule(
        timesteps,
        betas,
        alphas_cumprod,
        posterior_mean_coef1=betas * np.sqrt(before) / (1 - alphas_cumprod),
        posterior_mean_coef2=(1 - before) * np.sqrt(1 - betas) / (1 - alphas_cumprod),
        posterior_log_variance=np.log(variances),
    )


def table(config):
    """Return the timestep embedding of all s steps of a draw, on the host: (s f)."""
    return timestep_embedding(schedule(config.noise_steps).timesteps)


def timestep_embedding(timesteps, count=FREQUENCIES):
    """Return cosines and sines of timesteps (s), on the host: (s count) float32.

    >>> timestep_embedding(np.array([0]), 4).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    half = count // 2
    frequencies = np.exp(-math.log(MAX_PERIOD) * np.arange(half) / half)
    angles = np.asarray(timesteps, np.float64)[:, None] * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def embed_timesteps(ops, w, table, watch=None):
    """Return the conditioning vectors of timesteps: two layers, (s f) to (s d)."""
    s, f = table.shape
    x = ops.linear(table.reshape(s, 1, f), **w["time1"])  # (s 1 d)
    x = ops.linear(ops.silu(x), **w["time2"])
    x = x.reshape(s, x.shape[-1])
    tell(watch, "t_emb", x)
    return x


def denoise(ops, w, x, conditioning, watch=None):
    """Return the noise predicted in x, and the variance of the step: (b 1 c), (b 1 c).

    x (b 1 c): noisy tokens; conditioning (b 1 d): the sum of the vectors of timestep
    and outer model. The variance is given as an interpolation between the smallest (-1)
    and the largest (1) of `Schedule.step`.
    """
    signal = ops.silu(conditioning)
    x = ops.linear(x, **w["features"])  # (b 1 d)
    tell(watch, "x_proj", x)
    for i, layer in enumerate(w["layers"]):
        parts = ops.linear(signal, **layer["modulation"])
        shift, scale, gate = split_columns(ops, parts, 3)  # each (b 1 d)
        h = ops.modulate(ops.layer_norm(x, **layer["norm"], eps=EPS), shift, scale)
        h = ops.linear(ops.silu(ops.linear(h, **layer["fc1"])), **layer["fc2"])
        x = ops.add(x, ops.gate(h, gate))
        tell(watch, f"block{i}", x)
    shift, scale = split_columns(ops, ops.linear(signal, **w["out_modulation"]), 2)
    x = ops.modulate(ops.standardise(x, EPS), shift, scale)
    # (b 1 2c): noise, interpolation of the variance
    return split_columns(ops, ops.linear(x, **w["out"]), 2)


def guided(ops, noise, between, guidance):
    """Return guided noise, and the conditional half of `between`: (b 1 c) each.

    noise, between (2b 1 c): from `denoise`, for b rows with a condition and then the
    same rows without one.
    """
    return ops.guide(noise, guidance), between[: between.shape[0] // 2]


def sample(ops, w, config, z, draws, table, guidance=1.0, temperature=1.0, watch=None):
    """Draw the features of b tokens: (b 1 c).

    z (b 1 d): conditioning vectors from the outer model; if guidance is not 1, (2b 1
    d): b rows with a condition, then the same without. draws: a `query.Draws`; table:
    from `table`, where arrays live; temperature: a factor of the noise that the steps
    add, not of the noise they begin with. watch: called as watch("step", (i, x, mean,
    log_variance)) at every step.
    """
    c, rows, steps = config.features, z.shape[0], config.noise_steps
    plan = schedule(steps)
    # made once: neither depends on x
    times = embed_timesteps(ops, w, table)
    condition = ops.linear(z, **w["condition"])
    x = _normals(ops, draws, 0, c)
    for i in reversed(range(steps)):
        now = ops.repeat(times[i : i + 1], rows).reshape(condition.shape)
        conditioning = ops.add(condition, now)
        if guidance == 1:
            predicted = denoise(ops, w, x, conditioning)
        else:
            both = denoise(ops, w, ops.twice(x), conditioning)
            predicted = guided(ops, *both, guidance)
        mean, log_variance = ops.reverse_step(x, *predicted, *plan.step(i))
        tell(watch, "step", (i, x, mean, log_variance))
        x = mean
        if i:
            noise = ops.scale(_normals(ops, draws, steps - i, c), temperature)
            x = ops.sample_normal(mean, log_variance, noise)
    return x


def _beta(i):
    # the share of the variance that step i replaces by noise
    return min(1 - _signal((i + 1) / STEPS) / _signal(i / STEPS), 0.999)


def _signal(time):
    return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2


def _spread(count):
    # integers from 0 to the last timestep, as evenly spaced as possible
    timesteps, exact = [], 0.0
    for _ in range(count):
        timesteps.append(round(exact))
        # added up, as in the original: a product would be rounded differently
        exact += (STEPS - 1) / (count - 1)
    return timesteps


def _normals(ops, draws, index, c):
    key, images, positions = draws.key, draws.images, draws.positions
    x = ops.normals_at(key, images, positions, draws.step, index * c, c)
    return x.reshape(x.shape[0], 1, c)
