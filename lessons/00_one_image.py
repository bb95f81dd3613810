# %% [markdown]
# # 00 · One image, step by step
#
# This model does not paint pixels. It fills a small grid with *tokens*, numbers that
# each stand for a patch of the image, a few of them at a time. A second network turns
# the grid into a picture. Here is the whole way, once, for one handwritten seven.
#
# ![A seven appears on a grey grid, in six of sixteen steps](pictures/00_one_image.png)
#
# *Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import rng, sample
from minigen.models import arpg, codes
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
steps = list(pipe.steps([7], seed=5, steps=16, temperature=1.0))
print("token grid", pipe.grid, "codes to choose from", pipe.config.vocabulary)

# %% [markdown]
# ## The picture so far
#
# Grey is not known yet; orange frames what a step has just drawn. Notice how the new
# tokens keep apart: tokens of one step do not see each other (lesson 05 is about that).

# %%
chosen = [steps[i] for i in (0, 3, 6, 9, 12, 15)]
frames = [show.canvas(pipe, step) for step in chosen]
captions = [f"step {step.index}: {len(step.positions)} new" for step in chosen]
show.save("00_one_image.png", show.board([frames], captions))

# %% [markdown]
# ## A step is a record
#
# Sampling yields one frozen `Step` for each step: where it drew, what it drew, and the
# probabilities it drew from. Everything in this course is read off these records.

# %%
first = steps[0]
print(first)
print("positions    ", first.positions)
print("tokens       ", first.tokens[0])
print("probabilities", first.probabilities.shape, "(images, positions, codes)")
print("canvas after the step\n", first.canvas[0])

# %% [markdown]
# ## From doubt to certainty
#
# How likely are the likeliest codes at a position that is asked for? Sorted, and
# averaged over the positions of a step and over all ten digits. At the start many
# patches would do. Later the neighbours have decided, and few are left. The caption
# says how many bits of surprise a draw holds on average: Σ p log₂ 1/p.


# %%
def surprise(p):
    return float(-(p * np.log2(np.maximum(p, 1e-30))).sum(-1).mean())


digits = list(pipe.steps(range(10), seed=5, steps=16))
bits = [surprise(step.probabilities) for step in digits]
ranked = [np.sort(step.probabilities)[..., ::-1].mean((0, 1)) for step in digits]
tiles = [show.bars(ranked[step.index][:24], 128, 64, high=1) for step in chosen]
captions = [f"step {step.index}: {bits[step.index]:.1f} bits" for step in chosen]
show.save("00_surprise.png", show.board([tiles], captions))

# %% [markdown]
# ## The loop
#
# This is the package's own code, printed from where it runs. Each round: let the model
# read what was drawn (`feed`), ask for new positions (`ask`), push towards the class
# (`guide`), make `probabilities` of that, `draw` from them, and write the tokens on the
# canvas (`write`). Where tokens are vectors, as in lesson 13, a head draws them.

# %%
show.source(sample.decode, sample.draw_codes)

# %% [markdown]
# ## The first step by hand
#
# The same calls, outside the loop. Two rows go through the model: one gets the
# class, one the id of no class. What the class changes is then amplified:
#
#     logits = l_nothing + weight · (l_class − l_nothing)

# %%
ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
positions = np.array(pipe.plan(steps=16, seed=5).groups[0])
table = arpg.rotary_table(ops, config, pipe.grid)
cache = arpg.new_cache(ops, config, batch=2, capacity=1)
for ids, rows in arpg.prompt(config, [7], [], np.empty((1, 0), np.int64)):
    cache = arpg.feed(ops, weights, config, cache, ids, rows, table)
queries = np.stack([positions + 1] * 2)
logits = arpg.ask(ops, weights, config, cache, queries, table)
guided = ops.guide(logits, first.weight)
probabilities = ops.probabilities(guided, 1.0, 0, 1.0)
uniforms = rng.uniforms(seed=5, images=[0], step=0, positions=positions)
tokens = ops.draw(probabilities, uniforms)
print("by hand", tokens[0], "in the loop", first.tokens[0])

# %% [markdown]
# ## Drawing without a dice box
#
# There is no random generator that moves on with every draw. A draw is a *function* of
# (seed, image, step, position). So image number 7 of a run is the same whether it is
# drawn alone or among others, today or tomorrow.

# %%
print(rng.uniforms(seed=5, images=[0, 1], step=0, positions=[5, 6, 7]))
together = pipe.sample(range(10), seed=5, steps=16)
alone = pipe.sample([7], seed=5, steps=16, first=7)
print("alone and among ten, the same pixels:", np.array_equal(together[7:8], alone))
tiles = [show.enlarge(image, 3) for image in together]
show.save("00_ten_digits.png", show.board([tiles]))

# %% [markdown]
# ## What was taught

# %%
canvases = np.stack([step.canvas.ravel() for step in steps])
drawn = np.concatenate([step.positions for step in steps])

assert sorted(drawn) == list(range(drawn.size)), "each position is drawn exactly once"
for before, after in zip(canvases, canvases[1:], strict=False):
    known = before != codes.UNKNOWN
    assert (before[known] == after[known]).all(), "a drawn token never changes"
assert np.allclose(probabilities, first.probabilities, atol=1e-5), "feed, ask, guide"
assert (tokens == first.tokens).all(), "and draw: that is a step"
assert np.allclose(first.probabilities.sum(-1), 1), "each position draws from its own p"
assert bits[0] > bits[-1], "what is known makes the rest less of a surprise"
assert np.array_equal(together[7:8], alone), "an image does not depend on its batch"

# %% [markdown]
# ## Exercises
#
# 1. Draw ten sevens with `guidance_schedule="constant"` and `guidance` 0, 1 and 20.
#    What does the formula become in the first two, and what happens to variety in the
#    last?
# 2. `temperature=0` takes the likeliest token every time. Draw each digit so. What is
#    missing, and why are the likeliest tokens not the likeliest image?
# 3. Change one token of `steps[-1].canvas` and give the grid to `pipe.decode`. How far
#    does the change reach? (The next lesson measures it.)
