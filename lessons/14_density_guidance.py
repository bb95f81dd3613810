# %% [markdown]
# # 14 · Guidance as a ratio of densities
#
# For tokens that are codes, guidance is arithmetic on logits. For tokens that are
# vectors it is a ratio of densities, and a ratio of mixtures is not a mixture: it has
# no components to draw from.
#
# ![Densities of one feature without a class, with one, and
# guided](pictures/14_density_guidance.png)
#
# *Runs on NumPy alone. Needs lessons 09 and 13.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen import load, rng, sample
from minigen.models import masked, mixture_head
from minigen.models.query import Draws
from minigen.ops.mixture.reference import log_density
from minigen.show import lesson as show

pipe = load("arinar-mnist", backend="numpy")
model = ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
x, dx = np.linspace(-6, 6, 4001, retstep=True)

# %% [markdown]
# ## Two densities make a third
#
# The second feature of one token, half-way up on the right, before anything is drawn
# (its first feature is 0). Told no class, the model expects it dark, on the left. Told
# a zero, it rather expects the stroke. Guidance w draws from
#
# $$p_c(x)^w / p_u(x)^{w-1},$$
#
# scaled to hold 1 in all. It is the formula of lesson 09, $p_u (p_c / p_u)^w$, with
# densities in place of probabilities.

# %%
blank, nothing = np.zeros((1, 64, 4), np.float32), np.empty((1, 0), int)
z = masked.conditions(*model, [0], blank, nothing, np.array([[37]]), guided=True)
made = mixture_head.forward(
    ops, weights["head"], config, blank[:, :4, :1].repeat(2, 0), z
)
c, u = ([part[i : i + 1, 1] for part in made] for i in (0, 1))  # the second feature
p_c, p_u = (np.exp(log_density(x[None, :, None], *mixture))[0] for mixture in (c, u))
guided = p_c**3 / p_u**2
guided /= guided.sum() * dx
lines = {"no class": p_u, "a zero": p_c, "guided by 3": guided}
axes, ticks = ("second feature", "density"), (range(-6, 7), (0, 0.5, 1, 1.5, 2))
show.save("14_density_guidance.png", show.curves(lines, x, axes, ticks))

# %% [markdown]
# ## Guide the numbers?
#
# The head says twelve numbers of each density: logarithms of four weights, four means,
# four log-variances. Logits were guided number by number, u + w (c - u).
#
# **Predict.** Do the same with the twelve numbers. Is the mixture that they describe
# the guided density, or near it? And if both densities were one bell each, of the same
# width?


# %%
def density(mixture):
    return np.exp(log_density(x[None, :, None], *mixture))[0]


def ratio(c, u, weight):
    power = density(c) ** weight * density(u) ** (1 - weight)
    return power / (power.sum() * dx)


def by_numbers(c, u, weight):
    """Return the mixture whose numbers are guided one by one."""
    logs = ([np.log(m[0]), *m[1:]] for m in (c, u))
    w, *rest = (b + (a - b) * weight for a, b in zip(*logs, strict=True))
    return [np.exp(w) / np.exp(w).sum(), *rest]


# %%
def apart(p, q):
    return abs(p - q).sum() * dx / 2  # total variation


tries = {"the ratio": guided, "numbers guided": density(by_numbers(c, u, 3))}
show.save("14_numbers.png", show.curves(tries, x, axes, ticks))
far = {
    name: apart(guided, p) for name, p in {**lines, **tries}.items() if p is not guided
}
one, off = np.ones((1, 1, 1)), []
for variance in (1.0, 0.3):  # of c; that of u is 1
    bells = [[one[0], one / 2, np.log(one * variance)], [one[0], -one / 2, 0 * one]]
    off.append(apart(ratio(*bells, 3), density(by_numbers(*bells, 3))))
print("total variation to the ratio:", {n: f"{f:.2f}" for n, f in far.items()})
print(f"one bell each, of the same width: {off[0]:.0e}, of two widths: {off[1]:.2f}")

# %% [markdown]
# **Reveal.** It is further from the guided density than "a zero", which is guidance 1,
# and than "no class". With one bell each, of the same width, it would be exact, for
# then only the means differ.
# Already two widths break it, and with four components nothing says which of c belongs
# to which of u.

# %% [markdown]
# ## No mixture at all
#
# Might other numbers do, or more components? None. Allow complex x: a sum of bells is
# finite everywhere, but the ratio divides by p_u, which is 0 at some complex x, and
# becomes infinite there. This can be measured. The integral round a closed path is 0
# for a sum of bells (a theorem of Cauchy), and need not be round such a point. Those of
# p_c, of p_u and of the ratio are:


# %%
def complex_density(mixture, x):
    w, m, log = (np.asarray(part, float).reshape(-1, 1) for part in mixture)
    bells = np.exp(-((x - m) ** 2) / 2 / np.exp(log)) / np.sqrt(2 * np.pi * np.exp(log))
    return (w * bells).sum(0)


zero = np.array([-1.2 + 1.5j])
for _ in range(20):  # Newton's method
    slope = (complex_density(u, zero + 1e-6) - complex_density(u, zero - 1e-6)) / 2e-6
    zero = zero - complex_density(u, zero) / slope
turn = 0.2 * np.exp(2j * np.pi * np.arange(256) / 256)
f, g = (complex_density(mixture, zero + turn) for mixture in (c, u))
loops = [abs((p * turn).mean() * 2 * np.pi) for p in (f, g, f**3 / g**2)]
print(f"p_u is 0 at {zero[0]:.2f}; round it:", *(f"{loop:.0e}" for loop in loops))

# %% [markdown]
# ## How it is drawn from
#
# In one dimension any density can be drawn from, if it can be evaluated. `choose`, as
# in the original: a thousand candidates from p_c, one of them taken by its ratio. (Here
# ten are within chance already.)
# `draw_on_grid`: areas under the density are added up until they exceed a uniform
# number. (A density of all four features at once would need more points than there are;
# that each has its own is what makes this possible.)

# %%
show.source(mixture_head.choose, mixture_head.draw_on_grid)

# %%
n, key = 1000, np.array(rng.split_seed(0), np.uint32)
draws, gaps = Draws(key, np.arange(n), np.full(n, 37), 0), {}
both = [part[:, 1].repeat(n, axis=0) for part in made]
ways = {f"{k} of p_c": (mixture_head.choose, k) for k in (1, 10, 1000)}
ways["grid"] = mixture_head.draw_on_grid, 1000
for name, (way, mixture_head.CANDIDATES) in ways.items():
    values = np.sort(way(ops, both, 1, draws, 1.0, 3.0).ravel())
    share, ranks = np.interp(values, x, np.cumsum(guided) * dx), np.arange(n + 1) / n
    gaps[name] = max(abs(share - ranks[1:]).max(), abs(share - ranks[:-1]).max())
chance = np.sqrt(np.log(2 / 1e-6) / (2 * n))
numbers = [f"{name}: {gap:.3f}" for name, gap in gaps.items()]
picture = show.bars(list(gaps.values()), 480, 110, numbers=numbers)
caption = f"largest gap to the exact distribution; by chance up to {chance:.3f}"
show.save("14_draws.png", show.board([[picture]], [caption]))

# %% [markdown]
# ## Not even always a density
#
# Far out the widest bells decide: the ratio falls only while $w / v_c > (w - 1) / v_u$,
# for their variances. If p_u is the narrower one it grows without bound, and cannot be
# scaled to 1. Does that happen? Every mixture of a run at guidance 6 is watched.


# %%
def digits(guidance):
    """Return pictures of 0, 3 and 7, and the mixtures of every feature."""
    said, plan = [], pipe.plan("random", "cosine", 4, seed=5)
    how = pipe.options(guidance=guidance, temperature=1, guided_draw="grid")
    listen = {"watch": lambda *it: said.append(it)}
    step = list(sample.steps(*model, plan, [0, 3, 7], 5, how, **listen))[-1]
    images = [show.enlarge(image, 4) for image in pipe.decode(step.canvas)]
    return images, [mixture for name, mixture in said if name == "mixtures"]


(plain, _), (strong, heard) = digits(1.0), digits(6.0)
board = show.board([plain, strong], ["0", "3", "7"], ["guidance 1", "guidance 6"])
show.save("14_digits.png", board)

# %%
pairs = [
    [[part[[row], 0] for part in mixtures] for row in (i, i + len(mixtures[0]) // 2)]
    for mixtures in heard
    for i in range(len(mixtures[0]) // 2)
]
v_c, v_u = np.exp([[m[2].max() for m in pair] for pair in pairs]).T
unbound = {w: (w / v_c < (w - 1) / v_u).mean() for w in (1, 2, 4, 6, 10)}
print({w: f"{share:.1%}" for w, share in unbound.items()}, "of", len(pairs))
worst, grown = np.argmin(6 / v_c - 5 / v_u), {}
for name, pair in {"this feature": pairs[worst], "the one above": (c, u)}.items():
    wide = np.linspace(-20, 20, 20001)[None, :, None]
    power = [log_density(wide, *mixture)[0] for mixture in pair]
    areas = np.exp(6 * power[0] - 5 * power[1]) * 0.002
    grown[name] = [areas[abs(wide.ravel()) < r].sum() for r in (5, 10, 20)]
    print(name, *(f"{area:.2g}" for area in grown[name]))

# %% [markdown]
# It does: the more guidance, the oftener. The areas within 5, 10 and 20 grow and grow
# for the worst feature, and stay what they are for the one above. `choose` draws only
# candidates of p_c, `draw_on_grid` only within four deviations of p_c's means: so
# values far out are hardly drawn.
#
# ## What was taught

# %%
assert abs(guided.sum() * dx - 1) < 1e-9 and (guided > 0).all(), (
    "scaled, it is a density"
)
assert far["numbers guided"] > far["a zero"] > 0.2, (
    "numbers guided one by one are worse"
)
assert off[0] < 1e-3 < 0.1 < off[1], "but for one bell each, of the same width"
assert max(loops[:2]) < 1e-12 and loops[2] > 0.1, "a ratio of mixtures is no mixture"
assert gaps["1 of p_c"] > 2 * chance > gaps["grid"] + gaps["1000 of p_c"], (
    "both draw it"
)
assert gaps["10 of p_c"] < chance, "ten candidates seem to do, here"
assert unbound[1] == 0 < unbound[6] < unbound[10], "strong guidance may have no bound"
assert grown["this feature"][2] > 10 * grown["this feature"][0], "its area grows"
assert np.isclose(*grown["the one above"][1:], rtol=1e-6), "and others do not"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/14_density_guidance.py`, and let `python
# lessons/check.py 14` look at them.
#
# 1. `guided_bell`: the ratio of two single bells is a bell. Which one, and when is
#    there none?
# 2. `ratio_at`: the guided density of two mixtures at some points, by numerical
#    integration.
# 3. `draw_at`: what `draw_on_grid` does: the value at which the area under a density
#    exceeds a uniform number.
