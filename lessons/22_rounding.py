# %% [markdown]
# # 22 · Rounding of scans
#
# A float32 keeps 24 binary digits, about seven decimal ones, and every sum is rounded
# to them. A scan of a state space model adds thousands of numbers, and how it adds them
# decides whether seven digits are left at the end, or two.
#
# ![Error of the sum of eight neighbouring exponents, by position, computed in two
# ways](pictures/22_rounding.png)
#
# *Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen.checking import tolerance
from minigen.checking.tolerance import EPS
from minigen.ops.ssd.reference import segment_sums
from minigen.show import lesson as show

rng = np.random.default_rng(0)

# %% [markdown]
# ## Sums of segments, and differences of running sums
#
# In Mamba-2 the state at token $l$ holds what token $m$ added, times $\exp(e_{m+1} +
# \dots + e_l)$: the exponential of a sum over a *segment*. Any such sum is also the
# difference of two running sums, which costs n additions for all segments together.
#
# Below, the sum of eight neighbouring exponents at each of 4096 tokens, computed in
# both ways. Errors are in eps, the distance from 1 to the next float32, times the sum.

# %%
n, k = 4096, 8
e = (np.log(0.5) * rng.lognormal(0, 0.5, n)).astype(np.float32)
segments = np.lib.stride_tricks.sliding_window_view(e, k)
truth = segments.astype(float).sum(1)
running = np.insert(np.cumsum(e, dtype=np.float32), 0, 0)
found = {"segments": np.cumsum(segments, 1, dtype=np.float32)[:, -1]}
found["differences"] = running[k:] - running[:-k]
off = {name: abs(sums - truth) / abs(truth) / EPS for name, sums in found.items()}
off["eps x running sum"] = abs(running[k:] / truth)
at = 2 ** np.arange(3, 12)
lines = {
    name: [values[p : p + p // 2].max() for p in at] for name, values in off.items()
}
axes, ticks = ("token", "largest error, eps of the sum"), (at, (0.5, 4, 32, 256, 2048))
show.save("22_rounding.png", show.curves(lines, at, axes, ticks, (True, True)))

# %% [markdown]
# A running sum grows, and is rounded to a float32 near it; these are the further apart
# the larger they are. The subtraction itself is nearly exact, but its numbers were
# rounded before. So the error of a difference grows with the position, as the third
# line does, and that of a segment does not.
#
# Three controls of that cause: the error must vanish where running sums need no
# rounding, and where float64 holds them, and stay small where they begin again every 64
# tokens.


# %%
def differences(e):
    """Return sums of k neighbours from running sums, in the dtype of e (n)."""
    running = np.insert(np.cumsum(e, dtype=e.dtype), 0, 0)
    return running[k:] - running[:-k]


sixteenths = np.round(16 * e) / 16  # their running sums need few digits
exact = np.convolve(sixteenths.astype(float), np.ones(k), "valid")
chunks = [differences(chunk) for chunk in e.reshape(-1, 64)]
true = truth[np.arange(n).reshape(-1, 64)[:, : 65 - k]]
controls = {"float32": off["differences"].max()}
controls["sixteenths"] = abs(differences(sixteenths) - exact).max()
controls["float64"] = abs(differences(e.astype(float)) / truth - 1).max() / EPS
controls["chunks of 64"] = abs(chunks / true - 1).max() / EPS
print(*(f"{name}: {error:.3g} eps" for name, error in controls.items()), sep="\n")

# %% [markdown]
# `segment_sums` of the package adds up each segment by itself, which is why it takes n²
# numbers, and is used for a chunk of tokens at a time.

# %%
show.source(segment_sums)

# %% [markdown]
# ## The order of a sum
#
# A loop adds one number after another to a growing sum. Or pairs are added first, then
# pairs of pairs: then a number goes through 20 additions instead of up to a million.
# NumPy's `sum` does nearly that.
#
# **Predict.** 2²⁰ times 0.1 is added up in float32, by a loop and in pairs. How many of
# the seven digits of each result are right?

# %%
numbers = {"tenths": np.full(2**20, 0.1), "uniform": rng.uniform(0, 1, 2**20)}
numbers["both signs"] = rng.standard_normal(2**20)
ways = {
    "loop": lambda x: np.cumsum(x)[-1],
    "sorted": lambda x: np.cumsum(np.sort(x))[-1],
    "in pairs": lambda x: np.sum(x),
}
errors = {}
for name, x in numbers.items():
    x = x.astype(np.float32)
    exact, size = x.astype(float).sum(), abs(x.astype(float)).sum()
    for way, add in ways.items():
        errors[name, way] = float(tolerance.errors(add(x), exact, size))
        print(f"{name}, {way}: {add(x):.1f}, off by {errors[name, way]:.2f} eps")
    print(f"{name}, in truth: {exact:.1f}\n")

# %% [markdown]
# **Reveal.** The loop is off by one percent: while the sum is large, each 0.1 is
# rounded in the same direction. In pairs all digits are right. Sorted numbers are worse
# than unsorted ones: neighbours are alike, and so are their roundings.

# %% [markdown]
# The errors are in eps times the sum of all |x|, as `errors` computes them for
# `minigen check`, which allows 4. Relative to the result there is no bound: where signs
# cancel, a result near zero keeps the rounding of larger sums.

# %%
show.source(tolerance.errors)

# %% [markdown]
# ## Whole scans
#
# Now a scan, $h_t = \exp(e_t) h_{t-1} + b_t$, over 4096 tokens, as a loop and in chunks
# of 64 with either kind of sum, for states that halve in 1/8 to 4096 tokens. Errors are
# in eps of what the loop gives for |b|.


# %%
def loop(e, b):
    """Return h (n c) of exponents e and inputs b (n c), one token after the other."""
    a, h = np.exp(e), b.copy()
    for t in range(1, len(b)):
        h[t] = a[t] * h[t - 1] + b[t]
    return h


# %%
def subtracted(e):
    """Return what `segment_sums` does of e (c n), from running sums."""
    sums = np.cumsum(e, axis=-1, dtype=e.dtype)
    known = np.tri(e.shape[-1], dtype=bool)
    return np.where(known, sums[..., None] - sums[..., None, :], -np.inf)


# %%
def chunked(sums):
    """Return a scan in chunks of 64 tokens, with one of the two kinds of sums."""

    def form(e, b):
        h, state = np.empty_like(b), 0
        for part in np.split(np.arange(len(b)), len(b) // 64):
            h[part] = np.einsum("clm,mc->lc", np.exp(sums(e[part].T)), b[part])
            h[part] += np.exp(np.cumsum(e[part], 0)) * state
            state = h[part][-1]
        return h

    return form


# %%
forms = {"segments": chunked(segment_sums), "differences": chunked(subtracted)}
forms["loop"] = loop
lives = 2.0 ** np.arange(-3, 13, 3)
b = rng.standard_normal((n, lives.size * 4)).astype(np.float32)
rates = np.repeat(np.log(0.5) / lives, 4) * rng.uniform(0.8, 1.25, lives.size * 4)
alike = (rates * np.ones((n, 1))).astype(np.float32)
size, h = (loop(alike.astype(float), x.astype(float)) for x in (abs(b), b))
off = {name: abs(form(alike, b) - h) / size / EPS for name, form in forms.items()}
worst = {name: o.max(0).reshape(-1, 4).max(1) for name, o in off.items()}
axes, ticks = ("tokens to halve", "largest error, eps"), (lives, (0.5, 2, 8, 32, 128))
show.save("22_forms.png", show.curves(worst, lives, axes, ticks, (True, True)))

# %% [markdown]
# Differences fail where the state forgets fast, since exponents are large there. A loop
# fails where it remembers long: the rounding of exp(e), just below 1, is multiplied in
# at each token. Sums of segments are off by a few eps everywhere.
#
# ## What was taught

# %%
grown = {name: line[-1] / line[0] for name, line in lines.items()}
assert max(lines["segments"]) < 4, "a segment's error does not grow with its position"
assert grown["differences"] > 50, "that of a difference of running sums does"
assert 1 / 8 < grown["differences"] / grown["eps x running sum"] < 8, "as these do"
assert controls["sixteenths"] == 0, "no error where running sums need no rounding"
assert controls["float64"] < 1, "nor where they have more digits"
assert controls["chunks of 64"] < controls["float32"] / 8, (
    "little where they stay small"
)
assert 0.008 < errors["tenths", "loop"] * EPS < 0.012, "a loop is off by one percent"
assert all(errors[x, "in pairs"] < 4 for x in numbers), "pairs keep them"
assert errors["uniform", "sorted"] > errors["uniform", "loop"], "sorting does not help"
assert worst["segments"].max() < 4, "a scan by segments: a few eps, whatever the decay"
assert worst["differences"][0] > 8 * worst["differences"][-1], "exponents are large"
assert worst["loop"][-1] > 8 * worst["loop"][0], "a loop errs where memory is long"

# %% [markdown]
# ## Exercises
#
# `lessons/exercises/22_rounding.py`; `python lessons/check.py 22` checks them.
#
# 1. `gap`: how far is a float32 from the next larger one?
# 2. `in_pairs`: add up an array in float32, so that n numbers are off by at most about
#    log₂ n roundings. Try a loop first.
# 3. `of_segments`: the sums of all segments of an array, as `segment_sums` has them.
#    Does a difference of running sums pass?
