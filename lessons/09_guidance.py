# %% [markdown]
# # 09 · Guidance and temperature, each alone
#
# Two numbers decide how a token is drawn from what the model says: guidance, which asks
# for more of the class, and temperature, which asks for more of the likely. They are
# often turned together; here each is turned while the other stays at 1.
#
# ![Threes and eights at guidance 1, 2 and 6](pictures/09_guidance.png)
#
# *Runs on NumPy alone. Needs lesson 00.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen import evaluate, load, plans
from minigen.ops.draw.reference import probabilities
from minigen.ops.guide.reference import guide
from minigen.show import lesson as show

pipe, judge = load("arpg-mnist", backend="numpy"), evaluate.load_judge(backend="numpy")
plain = {"guidance": 1.0, "temperature": 1.0, "guidance_schedule": "constant"}
labels, table = np.repeat([3, 8], 4), {}

# %% [markdown]
# ## More guidance
#
# Four threes and four eights, temperature 1, guidance the same at every step. `run`
# also counts how many of the eight a classifier recognises, and how much choice was
# left: the entropy of what each token was drawn from, in bits, added up over an image.


# %%
def run(name, **how):
    """Draw, keep agreement and bits under a name; return tokens and pictures."""
    bits = 0
    for step in pipe.steps(labels, 0, 8, **{**plain, **how}):
        p = step.probabilities
        bits = bits - (p * np.log2(np.maximum(p, 1e-30))).sum((1, 2)).mean()
    images = pipe.decode(step.canvas)
    table[name] = (evaluate.look(judge, images)[1] == labels).sum(), bits
    return step.canvas, [show.enlarge(image, 2) for image in images]


rows = [run(f"guidance {g:g}", guidance=g)[1] for g in (1.0, 2.0, 6.0)]
names = [f"{name}: {right} of 8" for name, (right, _) in table.items()]
show.save("09_guidance.png", show.board(rows, down=names))

# %% [markdown]
# ## What it does to a distribution
#
# The model is asked twice, with the class and without. `guide` starts from the answer
# without, u, and goes w times the way from u to c, the answer with. `probabilities`
# makes probabilities of the result.

# %%
show.source(guide, probabilities)

# %% [markdown]
# Logits are logarithms of probabilities, so this is $p_u (p_c / p_u)^w$, scaled to 1: a
# token that the class makes twice as likely counts $2^w$ times what it was without.
# Below, one cell of a half-drawn three; its 64 tokens, the likeliest with the class on
# the left. A temperature T raises p to the power 1/T: it changes how far the first are
# ahead, never which one is first. Guidance may put another one there. (A tile is 60 %
# high.)

# %%
steps = list(pipe.steps([3], 0, 8, details=True, **plain))
c, u = steps[5].details.conditional[0], steps[5].details.unconditional[0]
cell = np.argmax(abs(c - u).max(-1))
both = np.stack([c, u])[:, cell][:, None]  # (2 1 64)
weights, hot = {f"guidance {w}": w for w in (0, 1, 6)}, {"T = 0.5": 0.5, "T = 2": 2.0}
p = {name: probabilities(guide(both, w), 1.0, 0, 1.0)[0] for name, w in weights.items()}
p |= {name: probabilities(both[:1], t, 0, 1.0)[0, 0] for name, t in hot.items()}
p = {name: each.ravel() for name, each in p.items()}
rank = np.argsort(-p["guidance 1"])
tiles = [show.bars(each[rank], 128, 80, high=0.6) for each in p.values()]
captions = [f"{name}\nhighest {each.max():.0%}" for name, each in p.items()]
show.save("09_cell.png", show.board([tiles], captions))

# %% [markdown]
# ## Guidance 0
#
# Guidance 1 is "no guidance".
#
# **Predict.** What is guidance 0? The classifier looks at eight pictures, asked for as
# threes and eights: how many will it recognise?

# %%
forgotten, tiles = run("guidance 0", guidance=0.0)
none = list(pipe.steps([-1] * 8, 0, 8, **plain))[-1].canvas  # no class at all
show.save("09_zero.png", show.board([tiles], down=[f"{table['guidance 0'][0]} of 8"]))
print("the same tokens as without a class:", np.array_equal(forgotten, none))

# %% [markdown]
# **Reveal.** At 0 the formula leaves u alone: the model that was told no class. These
# are digits, but any digits: token for token what the class "none" draws.

# %% [markdown]
# ## Temperature, and what cuts the tail
#
# Now guidance is 1. Temperature 0 takes the likeliest token. `top_k=4` draws among the
# four likeliest, `top_p=0.8` among the likeliest that hold 80 % together.

# %%
tails = {"top_k 4": {"top_k": 4}, "top_p 0.8": {"top_p": 0.8}}
ways = {f"temperature {t:g}": {"temperature": t} for t in (0.0, 0.5, 1.5)} | tails
drawn = {name: run(name, **how) for name, how in ways.items()}
names = [f"{name}: {table[name][0]} of 8" for name in ways]
show.save(
    "09_temperature.png", show.board([tiles for _, tiles in drawn.values()], down=names)
)

# %% [markdown]
# ## A schedule is a third thing
#
# A rising schedule, `linear`, begins near 1 and reaches the full guidance at the last
# token. The first tokens, here those at the border (lesson 00), are drawn with little
# of it, those of the stroke with nearly all.

# %%
show.source(plans.guidance_weight)
run("guidance 6, rising", guidance=6.0, guidance_schedule="linear")
ends = np.cumsum(pipe.plan("border", "cosine", 8).counts)
rising = [plans.guidance_weight("linear", 6.0, int(n), 64) for n in ends]
lines = {"linear": rising, "constant": [6.0] * 8}
picture = show.curves(
    lines, range(8), ("step", "guidance"), (range(8), (0, 1, 2, 4, 6))
)
show.save("09_schedule.png", picture)
for name, (right, bits) in table.items():
    print(f"{name:18} {right} of 8 recognised, {bits:3.0f} bits an image")

# %% [markdown]
# What does the list show? Guidance 6 costs more than a quarter of the bits. Cutting the
# tail costs more. The schedule changes next to nothing here. Temperature 0 leaves no
# choice at all: its eight pictures are two, each four times, and one of the two is not
# recognised. So the likeliest token, each time, need not make a clear digit.
#
# Eight pictures are few: 7 or 8 recognised may be chance, and whether guidance or a cut
# tail buys agreement they cannot say. `minigen evaluate arpg-mnist --count 1000 --sweep
# guidance=0,1,2,6 --guidance-schedule constant --temperature 1` takes minutes and can.
#
# ## What was taught

# %%
c, u = steps[5].details.conditional, steps[5].details.unconditional
p_c, p_u, p_6 = (probabilities(x, 1.0, 0, 1.0) for x in (c, u, u + (c - u) * 6))
ratio = p_u * np.float64(p_c / p_u) ** 6
right, bits = ({name: row[i] for name, row in table.items()} for i in (0, 1))
cold = drawn["temperature 0"][0].reshape(2, 4, 64)

assert np.allclose(p_6, ratio / ratio.sum(-1, keepdims=True), atol=1e-5), "a ratio"
assert np.array_equal(forgotten, none), "guidance 0 forgets the class"
assert right["guidance 0"] <= 2 and right["guidance 1"] >= 6, "1 is the class"
assert bits["guidance 6"] < 0.75 * bits["guidance 1"], "guidance takes choice away"
assert len({rank[0], *(p[t].argmax() for t in hot)}) == 1, "temperature keeps the first"
assert (p_6.argmax(-1) != p_c.argmax(-1)).any(), "guidance does not"
assert (cold == cold[:, :1]).all(), "temperature 0: one picture a class"
assert right["temperature 0"] == 4, "and one of the two not of its class"
assert rising[0] < 1.5 and rising[-1] == 6, "a rising schedule begins near 1"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/09_guidance.py`, and let `python
# lessons/check.py 09` look at them.
#
# 1. `guided`: guidance on probabilities, without logits.
# 2. `hotter`: temperature on probabilities, 0 included.
# 3. `nucleus`: which tokens does `top_p` keep?
