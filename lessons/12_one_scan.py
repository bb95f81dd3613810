# %% [markdown]
# # 12 · One scan, three forms
#
# A state space model reads tokens into a state that fades: `h_t = a_t h_(t−1) + b_t`.
# Written so, a token has to wait for all before it. It need not: the same numbers come
# out of a scan in a few parallel rounds, and out of an attention with decay.
#
# ![What three states know of two inputs, by the tokens read](pictures/12_one_scan.png)
#
# *Needs lesson 10. Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen.ops.selective_scan import cuda_scan
from minigen.ops.selective_scan.reference import selective_scan
from minigen.ops.ssd.reference import segment_sums, ssd, ssd_chunked
from minigen.show import lesson as show

rng, joined = np.random.default_rng(0), []

# %% [markdown]
# ## The first form: a loop
#
# In Mamba `a_t = exp(δ_t A)` says how much of the state a token leaves, `b_t = δ_t x_t
# B_t` what it adds. Below, tokens 0 and 32 say 1, all others nothing.


# %%
def loop(a, b):
    """Return h (n c) of steps a, b (n c), one token after the other."""
    h = b.copy()
    for t in range(1, len(b)):
        h[t] = a[t] * h[t - 1] + b[t]
    return h


halves, said = np.array([1, 8, 64]), np.zeros((64, 3))
said[[0, 32]] = 1
faded = loop(0.5 ** (1 / halves) * np.ones_like(said), said)
lines = {f"half in {k} tokens": h for k, h in zip(halves, faded.T, strict=True)}
ticks = range(0, 65, 16), (0, 0.5, 1, 1.5, 2)
show.save("12_one_scan.png", show.curves(lines, range(64), ("token", "h"), ticks))

# %% [markdown]
# ## The second form: steps can be joined
#
# One token takes h to `a h + b`. Two tokens, one after the other, do the same kind of
# thing, with another a and another b:
#
# $$(a_1, b_1) \circ (a_2, b_2) = (a_2 a_1, a_2 b_1 + b_2)$$
#
# It does not matter which pair is joined first. So let every token join itself to its
# neighbour, all at once; then to the one two away, four away, and so on (Kogge and
# Stone).


# %%
def join(first, then):
    """Return the one step that does what two do, and note how many were joined."""
    joined.append(len(then[0]))
    return then[0] * first[0], then[0] * first[1] + then[1]


def kogge_stone(*step, join=join):
    """Yield (a, b) after each round; in the end b is h."""
    away = 1
    while away < len(step[0]):
        new = join([x[:-away] for x in step], [x[away:] for x in step])
        pairs = zip(step, new, strict=True)
        step = [np.concatenate([x[:away], y]) for x, y in pairs]
        yield step
        away *= 2


# %% [markdown]
# Or join pairs, scan the pairs (in the same way), then join each token in between to
# the pair before it (Brent and Kung).
#
# The *work* is the number of joins, the *depth* the number that wait for one another. A
# loop over 1024 tokens has 1023 of both.
#
# **Predict.** How many times the work of the loop does each way do? Which has the
# smaller depth?


# %%
def brent_kung(a, b, join=join):
    """Return (a, b) of each token joined to all before it; n is a power of two."""
    if len(a) == 1:
        return a, b
    lower, upper = (a[::2], b[::2]), (a[1::2], b[1::2])
    pairs = brent_kung(*join(lower, upper), join)
    done = np.copy(a), np.copy(b)
    done[0][1::2], done[1][1::2] = pairs
    if len(a) > 2:
        between = join([x[:-1] for x in pairs], [x[1:] for x in lower])
        done[0][2::2], done[1][2::2] = between
    return done


# %%
n, cost = 1024, {"loop": (1023, 1023)}
a, b = rng.uniform(0.5, 1, n), rng.standard_normal(n)
truth, h = loop(a, b), {}
forms = {"Kogge-Stone": lambda *given: list(kogge_stone(*given))[-1][1]}
forms["Brent-Kung"] = lambda *given: brent_kung(*given)[1]
for name, form in forms.items():
    joined.clear()
    h[name] = form(a, b)
    cost[name] = sum(joined), len(joined)
for name, (work, depth) in cost.items():
    print(f"{name:12} work {work:5}, {work / 1023:.1f} times, depth {depth:4}")
print("largest difference from the loop:", *(abs(x - truth).max() for x in h.values()))

# %% [markdown]
# **Reveal.** Kogge and Stone: n log₂ n − n + 1 joins, depth log₂ n. Brent and Kung:
# fewer than 2 n, but nearly twice the depth. Which is better depends on whether a
# thread that waits costs anything.
#
# A state that saturates, `h = clip(a h + b, -1, 1)`: to clip each join is not to clip
# as a loop does. But for a > 0 two such steps are again one, with limits of its own: a
# ∘ of four numbers is right, however many are joined.


# %%
def clip(first, then):
    return then[0] * first[0], np.clip(then[0] * first[1] + then[1], -1, 1)


def saturate(first, then):
    """Return a, b and both limits of the one step that does what two do."""
    a, b, *limits = then
    passed = [np.clip(a * limit + b, *limits) for limit in first[2:]]
    return a * first[0], a * first[1] + b, *passed


# %%
*_, (_, each_clipped) = kogge_stone(a, b, join=clip)
*_, (_, free, *limits) = kogge_stone(a, b, -np.ones(n), np.ones(n), join=saturate)
clipped = np.clip(b, -1, 1)
for t in range(1, n):
    clipped[t] = np.clip(a[t] * clipped[t - 1] + b[t], -1, 1)
both = {"each join clipped": each_clipped, "limits": np.clip(free, *limits)}
saturated = {name: abs(h - clipped)[1:].max() for name, h in both.items()}
for name, off in saturated.items():
    print(f"a state that saturates, {name}: off by {off:.1e}")

# %% [markdown]
# ## On a GPU
#
# There 32 threads run together (a *warp*, lesson 21), and one that waits costs as much
# as one that works. So they join in five rounds, the first way: `warp_scan`. Below,
# both ways for 16 threads, a row a round: for how many tokens each stands.

# %%
show.source(cuda_scan.join.py_func, cuda_scan.warp_scan.py_func)
ones = np.ones(16)
known = [ones, *(b for _, b in kogge_stone(ones, ones))]
sweeps, up, down = [ones], [(1, 0), (2, 0), (4, 0), (8, 0)], [(4, 4), (2, 2), (1, 1)]
for away, shift in up + down:
    row = sweeps[-1].copy()
    row[2 * away - 1 + shift :: 2 * away] += row[away - 1 + shift : -away : 2 * away]
    sweeps.append(row)
joined.clear()
whole, shown = brent_kung(ones, ones)[1], sum(joined)
tiles = [show.numbered(np.array(rows), 26, 0, 16) for rows in (known, sweeps)]
show.save("12_rounds.png", show.board([tiles], ["Kogge-Stone", "Brent-Kung"]))

# %% [markdown]
# ## The third form: attention with decay
#
# What token m left in the state at token l is `b_m` times all decays in between, the
# exponential of a sum: `L[l, m] = exp(e_(m+1) + ... + e_l)` with `e_t = δ_t A`. So h is
# a matrix times b. With C as queries and B as keys this is Mamba-2's attention without
# softmax. It grows with n², so it is used for a chunk of tokens; the state alone goes
# from chunk to chunk. With 64 a chunk that is about 32 products a token, more than
# either scan above, but as matrix products.
#
# Below, L of 24 tokens for three constant decays, and for a δ that changes.


# %%
def chunked(e, b, chunk=64):
    """Return h (n c) of exponents e and what is added, b (n c)."""
    h, state = np.empty_like(b), 0
    for part in (slice(t, t + chunk) for t in range(0, len(b), chunk)):
        h[part] = np.einsum("clm,mc->lc", np.exp(segment_sums(e[part].T)), b[part])
        h[part] += np.exp(e[part].cumsum(0)) * state
        state = h[part][-1]
    return h


e = np.log(0.5) / [1, 8, 64, 8] * np.ones((24, 4))
e[:, 3] *= rng.lognormal(0, 1.5, 24)
tiles = [show.colours(L, 6, 0, 1) for L in np.exp(segment_sums(e.T))]
names = [*(f"half in {k}" for k in halves), "8, changing", "L"]
show.save("12_decays.png", show.board([[*tiles, show.scale(0, 1)]], names))

# %% [markdown]
# ## The same numbers
#
# Four channels, in float64, through all forms; and through the package's own: the scan
# of Mamba-1, the recurrence of Mamba-2, and its chunked form. (In float32 each form
# rounds in its own way: lesson 22.)

# %%
n, c = 1000, 4
delta, x = rng.lognormal(0, 0.5, (1, n, c)), rng.standard_normal((1, n, c))
A_log = np.log(np.log(2) / [1, 8, 64, 512])
e, b = -np.exp(A_log) * delta[0], (delta * x)[0]
truth = loop(np.exp(e), b)
same = {"Kogge-Stone": forms["Kogge-Stone"](np.exp(e), b), "chunked": chunked(e, b)}
one, no = np.ones((1, n, 1, 1)), np.zeros(c)
given = x, delta, A_log[:, None], one, one, no, np.zeros((1, c, 1))
same["selective_scan"] = selective_scan(*given)[0][0]
given = x[..., None], delta, A_log, one, one, no
same["ssd"] = ssd(*given, np.zeros((1, c, 1, 1)))[0][0, ..., 0]
same["ssd_chunked"] = ssd_chunked(*given, np.zeros((1, c, 1, 1)), 64)[0][0, ..., 0]
apart = {name: abs(h - truth).max() for name, h in same.items()}
print(*(f"{name}: {off:.0e} from the loop" for name, off in apart.items()), sep="\n")

# %% [markdown]
# ## What was taught

# %%
work, depth = ({name: pair[i] for name, pair in cost.items()} for i in (0, 1))

assert (known[-1] == np.arange(1, 17)).all(), (
    "log2 n rounds, and the last thread knows of all"
)
assert (sweeps[-1] == whole).all(), "and so it does after both sweeps"
assert (np.diff(sweeps, axis=0) > 0).sum() == shown, "of which all are shown"
assert depth["Kogge-Stone"] == 10 and depth["Brent-Kung"] == 19, "few instead of n"
assert work["Kogge-Stone"] == 1024 * 10 - 1023, "n log n joins"
assert work["Brent-Kung"] == 2 * 1024 - 2 - 10, "or fewer than two a token"
assert saturated["each join clipped"] > 0.5, "to clip each join is wrong"
assert saturated["limits"] < 1e-12, "with joined limits it is a scan"
assert 2 * max(work[way] for way in h) / 1024 < 65 / 2, "attention multiplies more"
assert max(apart.values()) < 1e-11, "three forms, one scan"

# %% [markdown]
# ## Exercises
#
# In `lessons/exercises/12_one_scan.py`; `python lessons/check.py 12` looks at them.
#
# 1. `join`: of two steps one.
# 2. `scan`: in log₂ n rounds, for any n.
# 3. `decay_matrix`: L of the third form.
