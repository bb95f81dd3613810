# %% [markdown]
# # 12 · One scan, three forms
#
# A state space model reads tokens into a state that fades: `h_t = a_t h_(t−1) + b_t`.
# Written so, a token has to wait for all before it. It need not: the same numbers come
# out of a scan in a few parallel rounds, and out of an attention with decay. Exactly
# the same, that is, if numbers had no end. In float32 each form rounds in its own way.
#
# ![Errors of four forms, by how long the state remembers](pictures/12_one_scan.png)
#
# *Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen.ops.selective_scan import cuda as kernels
from minigen.ops.selective_scan import cuda_scan
from minigen.ops.selective_scan.reference import selective_scan
from minigen.ops.ssd.reference import segment_sums, ssd, ssd_chunked
from minigen.show import lesson as show

rng, joined = np.random.default_rng(0), []

# %% [markdown]
# ## The first form: a loop
#
# In Mamba `a_t = exp(δ_t A)` lies between 0 and 1, and says how much of the state a
# token leaves; `b_t = δ_t x_t B_t` is what it adds. Below, a token says 1, another says
# 1 half-way, all others are silent. What the state knows of them halves in 1, in 8 and
# in 64 tokens.


# %%
def loop(a, b):
    """Return h (n c) of steps a, b (n c), one token after the other."""
    h = b.copy()
    for t in range(1, len(b)):
        h[t] = a[t] * h[t - 1] + b[t]
    return h


halves = np.array([1, 8, 64])
said = np.zeros((64, 3))
said[[0, 32]] = 1
faded = loop(0.5 ** (1 / halves) * np.ones_like(said), said)
tiles = [show.bars(h, 192, 60, high=1.7) for h in faded.T]
show.save("12_fading.png", show.board([tiles], [f"half in {k}" for k in halves]))

# %% [markdown]
# ## The second form: steps can be joined
#
# One token takes h to `a h + b`. Two tokens, one after the other, do the same kind of
# thing, with another a and another b:
#
#     (a₁, b₁) ∘ (a₂, b₂) = (a₂ a₁, a₂ b₁ + b₂)
#
# And it does not matter which pair is joined first. So let every token join itself to
# its neighbour, all at once; then to the one two away, four away, and so on, each round
# twice as far (Hillis and Steele; as a circuit, Kogge and Stone).


# %%
def join(first, then):
    """Return the one step that does what two do, and note how many were joined."""
    joined.append(len(then[0]))
    return then[0] * first[0], then[0] * first[1] + then[1]


def rounds(a, b):
    """Yield (a, b) after each round; in the end b is h, and a the decay since t = 0."""
    away = 1
    while away < len(a):
        new = join((a[:-away], b[:-away]), (a[away:], b[away:]))
        a, b = (np.concatenate([x[:away], y]) for x, y in zip((a, b), new, strict=True))
        yield a, b
        away *= 2


# %% [markdown]
# ## Fewer joins, more rounds
#
# Those rounds are few, but each keeps all tokens busy: n log₂ n joins where the loop
# needs n. Blelloch's way wastes nothing. Join pairs, scan the pairs (in the same way),
# then join each token in between to the pair before it. What counts is the *work*, all
# joins, and the *depth*, those that have to wait for one another.


# %%
def blelloch(a, b):
    """Return (a, b) of each token joined to all before it; n is a power of two."""
    if len(a) == 1:
        return a, b
    lower, upper = (a[::2], b[::2]), (a[1::2], b[1::2])
    pairs = blelloch(*join(lower, upper))
    done = np.copy(a), np.copy(b)
    done[0][1::2], done[1][1::2] = pairs
    if len(a) > 2:
        between = join([x[:-1] for x in pairs], [x[1:] for x in lower])
        done[0][2::2], done[1][2::2] = between
    return done


# %%
def scan(a, b):
    return list(rounds(a, b))[-1][1]


n, cost = 1024, {"loop": (1023, 1023)}
a, b = rng.uniform(0.5, 1, n), rng.standard_normal(n)
truth, h = loop(a, b), {}
for name, form in {"rounds": scan, "Blelloch": lambda *ab: blelloch(*ab)[1]}.items():
    joined.clear()
    h[name] = form(a, b)
    cost[name] = sum(joined), len(joined)
for name, (work, depth) in cost.items():
    print(f"{name:8} work {work:5}, depth {depth:4}")
print("largest difference from the loop:", *(abs(x - truth).max() for x in h.values()))

# %% [markdown]
# ## On a GPU
#
# Two rungs ship. The naive kernel gives each channel a thread, which walks through all
# tokens: depth n. The other gives a thread two tokens. It joins these, then the 32
# lanes of a warp join in five rounds of shuffles (the first way: depth counts there,
# and an idle lane costs as much as a busy one), and what a warp did is handed on to the
# next. Below, the rounds of a warp. With `a = b = 1` a lane just counts how many tokens
# it stands for.

# %%
show.source(cuda_scan.join.py_func, cuda_scan.warp_scan.py_func)
for kernel in (kernels._selective_scan_naive, kernels._selective_scan):
    print(kernel.__name__, "\n   ", kernel.__doc__.strip())
ones = np.ones(32)
known = [ones, *(b for _, b in rounds(ones, ones))]
strips = [[show.colours(row[None], 14, 0, 32)] for row in known]
captions = ["start", *(f"round {i}" for i in range(1, len(known)))]
show.save("12_rounds.png", show.board(strips, down=captions))
# a thread's own, the lanes, the warps before, all of them before; the own once more
own, warps = cuda_scan.TOKENS, cuda_scan.THREADS // 32
depth = (own - 1) + (len(known) - 1) + (warps - 1) + 1 + own
print(f"{cuda_scan.SPAN} tokens: depth {cuda_scan.SPAN} in a loop, {depth} in a block")

# %% [markdown]
# ## The third form: attention with decay
#
# What token m left in the state at token l is `b_m` times all decays in between, the
# exponential of a sum: `L[l, m] = exp(e_(m+1) + ... + e_l)` with `e_t = δ_t A`. So h is
# a matrix times b. In Mamba-2 that matrix also takes C as queries and B as keys, and is
# an attention without softmax. It grows with the square of n; so it is used for a chunk
# of tokens at a time, and the state alone goes from one chunk to the next. It is more
# work than any scan, but it is matrix products.
#
# Below: L of 24 tokens, of the same three heads as in the first picture, and of one
# whose δ changes from token to token, as it does in a model.


# %%
def chunked(e, b, sums=segment_sums, chunk=64):
    """Return h (n c) of exponents e and what is added, b (n c)."""
    h, state = np.empty_like(b), np.zeros_like(b[0])
    for first in range(0, len(b), chunk):
        part = slice(first, first + chunk)
        h[part] = np.einsum("clm,mc->lc", np.exp(sums(e[part].T)), b[part])
        h[part] += np.exp(e[part].cumsum(0, dtype=e.dtype)) * state
        state = h[part][-1]
    return h


e = np.log(0.5) / [1, 8, 64, 8] * np.ones((24, 4))
e[:, 3] *= rng.lognormal(0, 1.5, 24)
tiles = [show.colours(decay, 6, 0, 1) for decay in np.exp(segment_sums(e.T))]
show.save("12_decays.png", show.board([tiles], [*map(str, halves), "8, chosen"]))

# %% [markdown]
# ## The same numbers
#
# Four channels, in float64, through all forms; and through the package's own: the scan
# of Mamba-1, the recurrence of Mamba-2, and its chunked form.

# %%
n, c = 1000, 4
delta, x = rng.lognormal(0, 0.5, (1, n, c)), rng.standard_normal((1, n, c))
A_log = np.log(np.log(2) / [1, 8, 64, 512])
e, b = -np.exp(A_log) * delta[0], (delta * x)[0]
truth = loop(np.exp(e), b)
same = {"scan": scan(np.exp(e), b), "chunked": chunked(e, b)}
one, no = np.ones((1, n, 1, 1)), np.zeros(c)
given = x, delta, A_log[:, None], one, one, no, np.zeros((1, c, 1))
same["selective_scan"] = selective_scan(*given)[0][0]
given = x[..., None], delta, A_log, one, one, no
same["ssd"] = ssd(*given, np.zeros((1, c, 1, 1)))[0][0, ..., 0]
same["ssd_chunked"] = ssd_chunked(*given, np.zeros((1, c, 1, 1)), 64)[0][0, ..., 0]
apart = {name: abs(h - truth).max() for name, h in same.items()}
print(*(f"{name}: {off:.0e} from the loop" for name, off in apart.items()), sep="\n")

# %% [markdown]
# ## What rounding does
#
# The sum of exponents over any stretch is a difference of two running sums, which looks
# like a bargain: n sums instead of n². The price is paid in digits. The running sums go
# on and on, and the larger they are, the fewer digits float32 has left for what lies
# between two neighbours. `segment_sums` adds up each stretch by itself.


# %%
def differences(e):
    """Return what `segment_sums` does, but from running sums."""
    sums = np.cumsum(e, axis=-1, dtype=e.dtype)
    known = np.tri(e.shape[-1], dtype=bool)
    return np.where(known, sums[..., None] - sums[..., None, :], e.dtype.type(-np.inf))


show.source(segment_sums)
e = np.full(64, 8 * np.log(0.5), np.float32)
for sums in (segment_sums, differences):
    last = sums(e)[63, 62]
    print(f"{sums.__name__}: from token 62 to 63 {last:.7f}, and in truth {e[63]:.7f}")

# %% [markdown]
# Loop and scan have a weakness of their own. Where a state remembers long, a is just
# below 1, and float32 cannot say well how far below. Here is what it makes of heads
# that halve in 1/8 to 4096 tokens.

# %%
lives, copies = 2.0 ** np.arange(-3, 13, 3), 8
rates = np.log(2) / lives
e = (-rates).astype(np.float32)
for life, off in zip(lives, abs(np.log(np.exp(e).astype(float)) / e - 1), strict=True):
    print(f"half in {life:6g} tokens: exp(e) decays {off:.0e} too slow or too fast")
forms = {
    "loop": lambda e, b: loop(np.exp(e), b),
    "scan": lambda e, b: scan(np.exp(e), b),
    "segments": chunked,
    "differences": lambda e, b: chunked(e, b, differences),
}
rates = np.repeat(rates, copies) * rng.uniform(0.8, 1.25, lives.size * copies)
b = rng.standard_normal((4096, rates.size)).astype(np.float32)

# %% [markdown]
# Now all forms in float32, over 4096 tokens, against the loop in float64 on the same e
# and b. Errors are given in eps, the gap between 1 and the next float32, of what the
# loop gives for |b|.
#
# Rows of the picture: all tokens of a channel decay alike, or each differently.
# Columns: the forms. Bars, left to right: a state that halves in 1/8, 1, 8, 64, 512,
# 4096 tokens. Each eighth of the height is a factor of two, from half an eps at the
# bottom to 128.

# %%
errors, spread = {}, {"alike": 0, "differently": 0.5}
for name, sigma in spread.items():
    e = (-rates * rng.lognormal(0, sigma, b.shape)).astype(np.float32)
    double = np.exp(e.astype(float))
    truth, size = loop(double, b.astype(float)), loop(double, abs(b).astype(float))
    print(f"\n{name:12}", *(f"{life:7g}" for life in lives), "tokens to halve")
    for form, f in forms.items():
        error = (abs(f(e, b) - truth) / size).max(0) / np.finfo(np.float32).eps
        errors[name, form] = error.reshape(-1, copies).max(1)
        print(f"{form:12}", *(f"{v:7.1f}" for v in errors[name, form]))
logs = {key: np.log2(2 * v) for key, v in errors.items()}
tiles = [[show.bars(logs[name, f], 132, 96, high=8) for f in forms] for name in spread]
show.save("12_one_scan.png", show.board(tiles, list(forms), list(spread)))

# %% [markdown]
# Running sums lose where the state forgets fast: their exponents are large. Loop and
# scan lose where it remembers long and all tokens are alike: then the same small error
# is made at every one. Where each decays differently, as in a model, errors cancel.
# Attention with decay adds exponents up before it exponentiates, and is off by an eps
# or two everywhere. Whether it is the loop or the scan that multiplies is all the same.

# %% [markdown]
# ## What was taught

# %%
alike, differ = ({f: errors[name, f] for f in forms} for name in spread)
work, depth = ({name: pair[i] for name, pair in cost.items()} for i in (0, 1))

assert (known[-1] == np.arange(1, 33)).all(), "log2 n rounds, and each knows of all"
assert depth["rounds"] == 10 and depth["Blelloch"] == 19, "few rounds instead of n"
assert work["Blelloch"] < 2 * 1024 < work["rounds"], "Blelloch joins as a loop does"
assert max(apart.values()) < 1e-11, "three forms, one scan"
assert alike["segments"].max() < 4, "sums of segments: a few eps, whatever the decay"
assert alike["differences"][0] > 30, "running sums lose digits where decay is strong"
assert alike["loop"][-1] > 8 * alike["loop"][0], "a loop errs most where memory is long"
assert alike["scan"].max() < 2 * alike["loop"].max(), "and a scan does not err more"
assert differ["loop"].max() < alike["loop"].max() / 2, "unless errors cancel"

# %% [markdown]
# ## Exercises
#
# 1. Let `join` carry exponents: `(e₁ + e₂, exp(e₂) b₁ + b₂)`. Does the scan still err
#    with long memories? What does it cost?
# 2. `p = np.cumprod(a, 0); h = p * np.cumsum(b / p, 0)` is the same scan in one line.
#    After how many tokens does it break, for each of `lives`? In float64?
# 3. Chunks of 16 and of 256 tokens: how do the errors of `differences` grow, and why
#    do those of `segments` not?
