"""The inner model of ARINAR: the features of a token, one after the other.

A small causal transformer reads the features drawn so far. The conditioning vector of
the outer model comes first in its sequence, and conditions every layer by shift, scale
and gate (adaLN). The output is a mixture of Gaussians for the next feature, or group of
features.

A row is a token; b rows may belong to any images. The features of a row are a sequence
of n groups of f.

Source: arXiv 2503.02883, section 3.2; Qinyu-Allen-Zhao/Arinar model_head/arhead_gmm.py
::ARHead_gmm, module/adaln.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minigen.errors import InputError
from minigen.models import kv_cache, token_flow
from minigen.models.kv_cache import KVCache
from minigen.models.layers import split_columns
from minigen.models.watching import tell

EPS = 1e-6

SHARE = 0.25
"""Factor of the attention scores, in addition to the usual scale."""

CANDIDATES = 1000
"""Candidates of a guided draw, of which one is chosen."""

NARROW = 0.05
"""Below this factor of the deviations a guided draw uses candidates, not the grid:
components are then so narrow that linear interpolation on the grid misplaces more than
a hundredth of the probability."""

NUMBERS = 4096
"""Random numbers reserved for each group of features: the first chooses a candidate,
the others draw the candidates."""

BEHAVIOURS = {"v1": -1, "head": 1}
"""The power of the temperature that a standard deviation is multiplied by.

The released weights are those of version 1; the code was changed later. The heads of
attention, 4 and 16, differ too: `ArinarConfig.inner_heads`.
"""


@dataclass(frozen=True, eq=False)
class Condition:
    """All that follows from the conditioning vectors of b tokens, in arrays (b 1 d).

    first: the first vector of the sequence; layers: for each layer two gates, two
    scales, two shifts; last: scale and shift before the output.
    """

    first: object
    layers: tuple
    last: tuple


def condition(ops, w, config, z):
    """Return the `Condition` of z (b 1 d). It is the same for all features."""
    first = ops.linear(z, **w["condition"])
    first = ops.add(first, ops.repeat(w["start"], z.shape[0]).reshape(first.shape))
    signal = ops.silu(z)
    made = [ops.linear(signal, **layer["modulation"]) for layer in w["layers"]]
    layers = tuple([split_columns(ops, each, 6) for each in made])
    last = split_columns(ops, ops.linear(signal, **w["out_modulation"]), 2)
    return Condition(first, layers, last)


def new_caches(ops, config, b):
    """Return an empty `KVCache` of b rows for every layer."""
    size = config.inner_width // config.inner_heads
    shape = b, config.groups, config.inner_heads, size
    return kv_cache.new_caches(ops, config.inner_layers, shape)


def forward(ops, w, config, x, z, watch=None):
    """Return the mixtures of the training form: group i is predicted from those before.

    x (b n f): the features of b rows in groups; z (b 1 d). Returns weights (b n g),
    means and log-variances (b n g f).
    """
    b, n, _ = x.shape
    given = condition(ops, w, config, z)
    h = given.first
    if n > 1:
        before = ops.gather(x, ops.put(_every(b, n - 1)))
        h = ops.concat(h, ops.linear(before, **w["features"]))
    h = _with_positions(ops, w, h, ops.put(_every(b, n)))
    caches = (KVCache(),) * config.inner_layers
    h, _ = read(ops, w, config, h, given, caches, watch)
    return answer(ops, w, config, h)


def step(ops, w, config, x, i, given, caches):
    """Return the mixtures (b 1 ..) of group i, and the new KV caches (a decode step).

    x (b 1 f): the group before it, None if i is 0; caches: a KVCache of each layer.
    """
    h = given.first if i == 0 else ops.linear(x, **w["features"])
    h = _with_positions(ops, w, h, ops.full((h.shape[0], 1), i))
    h, caches = read(ops, w, config, h, given, caches)
    return answer(ops, w, config, h), caches


def read(ops, w, config, h, given, caches, watch=None):
    """Run all layers: (b n d) to (b n d); return also the caches with these tokens.

    caches: a `KVCache` of each layer.
    """
    b, n, d = h.shape
    grown = []
    heads = b, n, config.inner_heads, d // config.inner_heads  # (b n h e)
    for i, (layer, parts) in enumerate(zip(w["layers"], given.layers, strict=True)):
        gate1, gate2, scale1, scale2, shift1, shift2 = parts
        a = ops.modulate(ops.standardise(h, EPS), shift1, scale1)
        to_q, to_k, to_v = _queries_keys_values(layer, d)
        q = ops.scale(ops.linear(a, **to_q), SHARE).reshape(heads)
        k = ops.linear(a, **to_k).reshape(heads)
        v = ops.linear(a, **to_v).reshape(heads)
        grown.append(caches[i].append(ops, k, v))
        o = grown[i].attend(ops, q).reshape(b, n, d)  # (b n h e) -> (b n d)
        o = ops.linear(o, **layer["proj"])
        h = ops.add(h, ops.gate(o, gate1))
        a = ops.modulate(ops.standardise(h, EPS), shift2, scale2)
        o = ops.linear(ops.gelu_tanh(ops.linear(a, **layer["fc1"])), **layer["fc2"])
        h = ops.add(h, ops.gate(o, gate2))
        tell(watch, f"hid_block{i}", h)
    scale, shift = given.last
    h = ops.modulate(ops.standardise(h, EPS), shift, scale)
    tell(watch, "hid_headnorm", h)
    return h, tuple(grown)


def answer(ops, w, config, h):
    """Return the mixtures of h (b n d): weights (b n g), means and log-variances (b n g
    f)."""
    return ops.mixture(ops.linear(h, **w["out"]), config.mixtures)


def likelihoods(ops, w, config, x, z, watch=None):
    """Return the log-likelihood (b n) of each group of features, less its constant.

    x (b n f), z (b 1 d): as for `forward`. With a flow, its output is modelled. The
    flow is volume-preserving (its log-determinant is 0), so no term is added.
    """
    if config.flow:
        x = token_flow.forward(ops, w["flow"], x)
    b, n, f = x.shape
    g = config.mixtures
    weights, means, log_variances = forward(ops, w, config, x, z, watch)
    tell(watch, "mixtures", (weights, means, log_variances))
    sizes = (b * n, g, f)  # a row for each group of each token
    density = ops.log_likelihood(
        x.reshape(b * n, 1, f),
        weights.reshape(b * n, g),
        means.reshape(sizes),
        log_variances.reshape(sizes),
    )
    return density.reshape(b, n)


def sample(
    ops, w, config, z, draws, guidance=1.0, temperature=1.0, watch=None, guided=None
):
    """Draw all features of b rows: (b n f).

    z (b 1 d): conditioning vectors; if guidance is not 1, (2b 1 d): b rows with a
    condition, then the same without. draws: a `query.Draws`. watch: called with
    "mixtures" and "group" for every group, and with "candidates" if it is guided.
    guided: how a guided group is drawn, by default `choose`, as in the original;
    `draw_on_grid` is exact.
    """
    rows = z.shape[0]
    b = rows if guidance == 1 else rows // 2
    given, caches = condition(ops, w, config, z), new_caches(ops, config, rows)
    n = config.groups
    factors = stretches(config, temperature)
    weights = within_token(config.inner_schedule, guidance, n)
    features, x = ops.empty((b, n, config.group)), None
    for i in range(n):
        mixtures, caches = step(ops, w, config, x, i, given, caches)
        tell(watch, "mixtures", mixtures)
        # (b 1 g ..) -> (b g ..)
        made = [each.reshape(rows, *each.shape[2:]) for each in mixtures]
        stretch, weight = factors[i], weights[i]
        if rows == b:
            group = draw(ops, made, i, draws, stretch)
        else:
            group = (guided or choose)(ops, made, i, draws, stretch, weight, watch)
        tell(watch, "group", group)
        features = ops.append(features, group, i)
        # both halves read the same group
        x = group if rows == b else ops.twice(group)
    return token_flow.reverse(ops, w["flow"], features) if config.flow else features


def draw(ops, made, i, draws, stretch):
    """Draw group i of b rows from their mixtures (b g ..): (b 1 f)."""
    weights, means, log_variances = made
    b, _, f = means.shape
    where = draws.key, draws.images, draws.positions, draws.step, i * NUMBERS + 1
    component = ops.draw_component(weights, ops.uniforms_at(*where, 1))
    normals = ops.normals_at(*where, f).reshape(b, 1, f)
    return ops.draw_value(component, means, log_variances, normals, stretch)


def choose(ops, made, i, draws, stretch, weight, watch=None):
    """Draw group i, a single feature, of b rows from mixtures (2b g ..): (b 1 1).

    Candidates are drawn from the conditional mixture. One of them is chosen; its
    probability grows with the ratio of its conditional and unconditional densities.
    """
    b = made[0].shape[0] // 2
    weights, means, log_variances = made
    conditional = weights[:b], means[:b], log_variances[:b]
    unconditional = weights[b:], means[b:], log_variances[b:]
    where = draws.key, draws.images, draws.positions, draws.step
    many = *where, i * NUMBERS + 1, CANDIDATES
    components = ops.draw_component(conditional[0], ops.uniforms_at(*many))
    normals = ops.normals_at(*many).reshape(b, CANDIDATES, 1)
    x = ops.draw_value(components, *conditional[1:], normals, stretch)
    of_both = ops.log_density(x, *conditional), ops.log_density(x, *unconditional)
    p = ops.candidate_probabilities(*of_both, weight)
    tell(watch, "candidates", (x, *of_both, p))
    uniforms = ops.uniforms_at(*where, i * NUMBERS, 1)
    chosen = ops.draw(p.reshape(b, 1, CANDIDATES), uniforms)
    return ops.gather(x, chosen)


def draw_on_grid(ops, made, i, draws, stretch, weight, watch=None):
    """Draw like `choose`, but from the guided density itself, which candidates
    approximate.

    This needs one uniform, and half as many evaluations of densities. If `stretch` is
    below NARROW, `choose` draws instead; at temperature 0 its candidates are the means.
    """
    if stretch < NARROW:
        return choose(ops, made, i, draws, stretch, weight, watch)
    b, g = made[0].shape[0] // 2, made[0].shape[1]
    where = draws.key, draws.images, draws.positions, draws.step, i * NUMBERS, 1
    uniforms = ops.uniforms_at(*where).reshape(b)
    both = ([a[:b].reshape(b, g) for a in made], [a[b:].reshape(b, g) for a in made])
    x = ops.draw_guided(*both[0], *both[1], uniforms, weight, stretch)
    return x.reshape(b, 1, 1)


def stretches(config, temperature):
    """Return the factor of the standard deviations of each group: (n) numbers.

    It is the temperature of the group, or in version 1 one over it: there a temperature
    above 1 makes deviations smaller, and 0 would make them infinite. In the later code
    0 draws the mean of a component. The linear schedule ends at 1.5 T - 0.5 for a
    temperature T, which is negative if T is below 1/3; in the original noise is then
    mirrored, and grows again as T falls. Raises InputError for a negative temperature,
    and for 0 in version 1.
    """
    n, inverse = config.groups, BEHAVIOURS[config.behaviour] < 0
    temperatures = within_token(config.inner_schedule, temperature, n)
    coldest = min(temperatures)
    if coldest < 0 or (inverse and coldest == 0):
        least = "above 0" if inverse else "at least 0"
        raise InputError(
            f"temperature {temperature:g} gives a feature the temperature {coldest:g} "
            f"(inner schedule {config.inner_schedule}, behaviour {config.behaviour}), "
            f"and this model's must be {least}"
            + ("; it divides by them: large ones narrow" if inverse else "")
            + ("; give more than 1/3" if config.inner_schedule == "linear" else "")
        )
    return [each ** BEHAVIOURS[config.behaviour] for each in temperatures]


def within_token(schedule, value, n):
    """Return the temperature or guidance of each of n groups, by a schedule.

    >>> within_token("linear", 3.0, 2)
    [3.5, 4.0]
    """
    above, groups = value - 1, range(1, n + 1)
    if schedule == "linear":
        return [value + above * i / n * 0.5 for i in groups]
    if schedule == "cosine":
        return [1 + 0.5 * above * (1 + math.cos(math.pi * i / n)) for i in groups]
    return [value] * n


def _queries_keys_values(layer, d):
    w = layer["qkv"]
    return (
        {"w": w[:d], "bias": layer["q_bias"]},
        {"w": w[d : 2 * d], "bias": layer["k_bias"]},
        {"w": w[2 * d :], "bias": layer["v_bias"]},
    )


def _with_positions(ops, w, h, rows):
    return ops.add(h, ops.embed(w["positions"], rows))


def _every(b, n):
    return np.ascontiguousarray(np.broadcast_to(np.arange(n), (b, n)))
