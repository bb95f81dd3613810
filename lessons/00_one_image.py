# %% [markdown]
# # 00 · One image, step by step
#
# This model does not paint pixels. It fills a small grid with *tokens*, numbers that
# each stand for a patch of the image, a few of them at a time. A second network turns
# the grid into a picture. Here is the whole way, once, for one handwritten seven.
#
# ![A seven appears on a grey grid, in six of sixteen
# steps](pictures/00_one_image.png)
#
# *Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import rng, sample
from minigen.models import arpg, codes
from minigen.show import frames
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
steps = list(pipe.steps([7], seed=5, steps=16, details=True))
print("token grid", pipe.grid, "codes to choose from", pipe.config.vocabulary)

# %% [markdown]
# ## The picture so far
#
# Grey is not known yet; orange frames what a step has just drawn. This model begins
# with the corners, one token a step, and goes round the border and inwards, several
# tokens a step (lesson 05 compares orders).

# %%
chosen = [steps[i] for i in (0, 3, 6, 9, 12, 15)]
tiles = [show.canvas(pipe, step) for step in chosen]
captions = [f"step {step.index}: {len(step.positions)} new" for step in chosen]
show.save("00_one_image.png", show.board([tiles], captions))
note = "Choose a cell: which codes may stand there, drawn as what they decode to?"
data = frames.decoding(pipe, {"class 7": steps}, "A seven, step by step", note)
show.player("decoding", data, "00_seven")

# %% [markdown]
# ## A step is a record
#
# Sampling yields one frozen `Step` for each step: where it drew, what it drew, and the
# probabilities it drew from. Most of this course is read off such records.

# %%
some = steps[4]
print(some)
print("positions    ", some.positions, "row by row from the top left, from 0")
print("tokens       ", some.tokens[0])
print("probabilities", some.probabilities.shape, "(images, positions, codes)")
print("canvas after the step\n", some.canvas[0])

# %% [markdown]
# ## The loop
#
# This is the package's own code, printed from where it runs. Look for the names
# below, pass over the rest. In every round, `decode` lets the model read what was
# drawn last (`feed`; before the first round `prefill` reads the class), and asks for
# new positions (`ask`). `draw_codes` pushes the answer towards the class (`guide`,
# lesson 09), makes `probabilities` of it, and draws a token from each (`draw`). Then
# `write` puts the tokens on the canvas.

# %%
show.source(sample.decode, sample.draw_codes)

# %% [markdown]
# ## The same by hand
#
# Here are the same calls, without guidance (weight 1) and at temperature 1: then a
# token is drawn from exactly what the model answers. `+ 1` because row 0 of the table
# of positions is the class's.

# %%
plain = list(pipe.steps([7], seed=5, steps=16, guidance=1, temperature=1))
ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
model, table = (ops, weights, config), arpg.rotary_table(ops, config, pipe.grid)
canvas = np.full((1, config.tokens), codes.UNKNOWN)
ids, rows = np.array([[config.class_id(7)]]), np.array([[0]])
state = arpg.begin(*model, ids, rows, table, capacity=config.tokens)
for index, group in enumerate(pipe.plan(steps=16).groups):
    positions = np.array(group)
    logits = arpg.ask(*model, state, positions[None] + 1, table)
    p = ops.probabilities(logits, 1, 0, 1)  # temperature 1, every code allowed
    tokens = ops.draw(p, rng.uniforms(5, [0], index, positions))
    canvas[:, positions] = tokens
    if index < 15:
        state = arpg.feed(*model, state, tokens, positions[None] + 1, table, True)
print("by hand, the same tokens:", (canvas == plain[-1].canvas.reshape(1, -1)).all())

# %% [markdown]
# ## What is known helps
#
# Ten digits are drawn like this. Six cells in the middle come last. Now go back: of
# every digit only the first 0, 4, 16, ... tokens are known, and the model is asked for
# those six cells. The *surprise* of a token is log₂ 1/p bits, where p is the
# probability that the model gave it: 0 bits if it was certain, 6 if all 64 codes were
# equally likely. How surprising are the tokens that will stand in these six cells?
#
# As a control, the model gets just as many tokens at the same positions, but from
# another digit.
#
# **Predict.** How do the two curves run, from no token known to 58 of 64?

# %%
ten = list(pipe.steps(range(10), seed=5, steps=16, guidance=1, temperature=1))
order = [int(p) for step in ten for p in step.positions]
own, at = ten[-1].canvas.reshape(10, -1), (0, 4, 16, 28, 40, 52, 58)


def surprise(k, turn):
    """Return the mean bits of the tokens drawn last, given k of digit i - turn."""
    known = np.full(own.shape, codes.UNKNOWN)
    known[:, order[:k]] = np.roll(own, turn, axis=0)[:, order[:k]]
    given = {"plan": pipe.plan(order, [64 - k], known=order[:k]), "guidance": 1}
    known = known.reshape(10, *pipe.grid)
    (step,) = pipe.steps(range(10), known=known, temperature=1, **given)
    p = np.take_along_axis(step.probabilities, own[:, order[k:], None], axis=2)
    return -np.log2(p[:, -6:]).mean()


# %%
curves = {
    "its own tokens": [surprise(k, 0) for k in at],
    "another digit's": [surprise(k, 1) for k in at],
}
axes = "known tokens", "surprise, bits a token"
show.save("00_surprise.png", show.curves(curves, at, axes, (at, range(0, 13, 2))))
for name, bits in curves.items():
    print(f"{name:15}", *(f"{b:5.2f}" for b in bits))

# %% [markdown]
# **Reveal.** With nothing known the model expects black everywhere. Here in the middle
# that is worse than 64 equal codes, 6 bits. With its own tokens known the surprise
# falls: once when the four corners are known, and again at the end. Another digit's
# corners help as much as its own: they say only *where* the asked cells lie (lesson
# 04). But then its tokens mislead, to far more than 6 bits. So what helps is *which*
# tokens are known, not how many.

# %% [markdown]
# ## A draw is a function of its place
#
# There is no random generator that moves on with every draw. A random number is a
# *function* of (seed, image, step, position). So image number 7 of a run is the same
# whether it is drawn alone or among others.

# %%
print(rng.uniforms(seed=5, images=[0, 1], step=0, positions=[5, 6, 7]))
together = pipe.sample(range(10), seed=5, steps=16)
alone = pipe.sample([7], seed=5, steps=16, first=7)
print("alone and among ten, the same pixels:", np.array_equal(together[7:8], alone))
tiles = [show.enlarge(image, 3) for image in together]
captions = [f"class {label}" for label in range(10)]
show.save("00_ten_digits.png", show.board([tiles], captions))

# %% [markdown]
# ## What was taught

# %%
canvases = np.stack([step.canvas.ravel() for step in steps])
falls, rises = curves.values()

assert sorted(order) == list(range(64)), "each position is drawn exactly once"
assert sorted(order[:4]) == [0, 7, 56, 63], "this model draws the corners first"
for before, after in zip(canvases, canvases[1:], strict=False):
    known = before != codes.UNKNOWN
    assert (before[known] == after[known]).all(), "a drawn token never changes"
assert (canvas == plain[-1].canvas.reshape(1, -1)).all(), "feed, ask, draw: a step"
assert np.allclose(p, plain[-1].probabilities, atol=1e-5), "from these probabilities"
assert (ten[0].probabilities.argmax(-1) == 0).all(), "at first black, code 0, leads"
assert falls[-1] < falls[1] < 6 < falls[0], "what is known makes the rest likelier"
assert abs(falls[1] - rises[1]) < 0.2, "corners are the same in every digit"
assert rises[-1] > 6 > rises[1], "what is known of another digit misleads"
assert np.array_equal(together[7:8], alone), "an image does not depend on its batch"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/00_one_image.py`, and let
# `python lessons/check.py 00` look at them.
#
# 1. `surprise`: the bits of the tokens that were drawn, from the probabilities. Which
#    step of `steps` surprises most?
# 2. `drawn_at`: from the canvases of all steps, the step that drew each position, as
#    `print(pipe.plan(steps=16))` shows it.
# 3. `draw`: how a uniform number picks a token. Why is a code of probability 0 never
#    picked?
