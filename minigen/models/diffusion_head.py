"""MAR's head: a token is drawn by taking the noise out of it, step by step.

A small network is told what the outer model says of the token, which step it is, and
the token as noisy as it is then. It foresees the noise in it, and how sure the step is:
from both follows a normal distribution, of which the token of the step before is drawn.
Each of its layers is modulated by what it is told.

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
"""Steps in which training brings noise into a token."""

WAVES = 256
"""Cosines and sines that tell the network which step it is at."""

SLOWEST = 10000.0
"""How much longer the slowest wave that tells of a step is than the fastest."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """How much noise there is at the steps that a draw takes, the least first: (s).

    numbers: of the steps among those of training, int64; all else is float64. betas:
    the variance that a step adds; kept: how much of the signal's variance is left after
    it; of_token, of_x: what the mean of the step before is made of, which is a sum of
    the token foreseen and of x; low: the least log-variance, as if the token were
    known (the most is log betas).
    """

    numbers: np.ndarray
    betas: np.ndarray
    kept: np.ndarray
    of_token: np.ndarray
    of_x: np.ndarray
    low: np.ndarray

    def step(self, i):
        """Return the numbers that `reverse_step` takes at step i.

        The token foreseen is (x - sqrt(1 - kept) noise) / sqrt(kept). Where hardly any
        signal is left that is a difference of huge numbers, so it is put into the sum.
        """
        signal, noise = math.sqrt(self.kept[i]), math.sqrt(1 - self.kept[i])
        of_x = self.of_token[i] / signal + self.of_x[i]
        of_noise = -self.of_token[i] * noise / signal
        return float(of_x), float(of_noise), self.low[i], math.log(self.betas[i])


@cache
def schedule(count):
    """Return the Schedule of a draw in `count` of the STEPS steps, two at least.

    Source: LTH14/mar diffusion/gaussian_diffusion.py, respace.py.

    >>> schedule(10).numbers.tolist()
    [0, 111, 222, 333, 444, 555, 666, 777, 888, 999]
    """
    trained = np.cumprod(1 - np.array([_beta(i) for i in range(STEPS)]))
    numbers = np.array(_spread(count))
    before = np.append(1.0, trained[numbers[:-1]])
    betas = 1 - trained[numbers] / before
    kept = np.cumprod(1 - betas)
    before = np.append(1.0, kept[:-1])
    variances = betas * (1 - before) / (1 - kept)
    # the first is 0: it gets that of the second
    variances[0] = variances[1]
    return Schedule(
        numbers,
        betas,
        kept,
        of_token=betas * np.sqrt(before) / (1 - kept),
        of_x=(1 - before) * np.sqrt(1 - betas) / (1 - kept),
        low=np.log(variances),
    )


def table(config):
    """Return the waves of all steps that a draw takes, on the host: (s w) float32."""
    return waves(schedule(config.noise_steps).numbers)


def waves(numbers, count=WAVES):
    """Return cosines and sines of step numbers (s), on the host: (s count) float32.

    >>> waves(np.array([0]), 4).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    half = count // 2
    speeds = np.exp(-math.log(SLOWEST) * np.arange(half) / half)
    angles = np.asarray(numbers, np.float64)[:, None] * speeds
    return np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def embed_steps(ops, w, table, watch=None):
    """Return what the network is told of steps, given their waves: (s w) to (s d)."""
    x = ops.linear(table.reshape(table.shape[0], 1, table.shape[1]), **w["time1"])
    x = ops.linear(ops.silu(x), **w["time2"])
    x = x.reshape(x.shape[0], x.shape[2])
    tell(watch, "t_emb", x)
    return x


def denoise(ops, w, x, told, watch=None):
    """Return the noise foreseen in x, and how sure the step is: (b 1 c), (b 1 c).

    x (b 1 c): noisy tokens; told (b 1 d): embeddings of step and condition together.
    The second is -1 where the step is as sure as can be, and 1 where it is the least.
    """
    signal = ops.silu(told)
    x = ops.linear(x, **w["features"])
    tell(watch, "x_proj", x)
    for i, layer in enumerate(w["layers"]):
        parts = ops.linear(signal, **layer["modulation"])
        shift, scale, gate = split_columns(ops, parts, 3)
        h = ops.modulate(ops.layer_norm(x, **layer["norm"], eps=EPS), shift, scale)
        h = ops.linear(ops.silu(ops.linear(h, **layer["fc1"])), **layer["fc2"])
        x = ops.add(x, ops.gate(h, gate))
        tell(watch, f"block{i}", x)
    shift, scale = split_columns(ops, ops.linear(signal, **w["out_modulation"]), 2)
    x = ops.modulate(ops.standardise(x, EPS), shift, scale)
    return split_columns(ops, ops.linear(x, **w["out"]), 2)


def guided(ops, noise, between, guidance):
    """Return half of what was foreseen, its noise guided: (2b 1 c) to (b 1 c).

    noise, between: of `denoise`, for rows with a condition and then the same without.
    """
    return ops.guide(noise, guidance), between[: between.shape[0] // 2]


def sample(ops, w, config, z, draws, table, guidance=1.0, temperature=1.0, watch=None):
    """Draw the features of b tokens: (b 1 c).

    z (b 1 d), or (2b 1 d) where guidance is not 1: first the rows with a condition,
    then the same without. draws: see `masked.Draws`; table: that of `table`, where
    arrays live; temperature: times the noise that the steps add, not that which they
    begin with. watch: told every "step".
    """
    c, rows, steps = config.features, z.shape[0], config.noise_steps
    plan = schedule(steps)
    # neither depends on the token: the first is the same for all, the second always
    times = embed_steps(ops, w, table)
    condition = ops.linear(z, **w["condition"])
    x = _normals(ops, draws, 0, c)
    for i in reversed(range(steps)):
        now = ops.repeat(times[i : i + 1], rows).reshape(condition.shape)
        told = ops.add(condition, now)
        if guidance == 1:
            seen = denoise(ops, w, x, told)
        else:
            seen = guided(ops, *denoise(ops, w, ops.twice(x), told), guidance)
        mean, log_variance = ops.reverse_step(x, *seen, *plan.step(i))
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
    # whole numbers from 0 to the last step, as even as they can be
    numbers, place = [], 0.0
    for _ in range(count):
        numbers.append(round(place))
        # added up, as in the original: a product would round otherwise
        place += (STEPS - 1) / (count - 1)
    return numbers


def _normals(ops, draws, index, c):
    key, images, positions = draws.key, draws.images, draws.positions
    x = ops.normals_at(key, images, positions, draws.step, index * c, c)
    return x.reshape(x.shape[0], 1, c)
