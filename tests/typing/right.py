"""A program in which `mypy --strict` and pyright find nothing, and which runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import minigen
from minigen import Options, Pipeline, Plan, Step, errors, evaluate

Images = NDArray[np.uint8]


def draw(pipe: Pipeline, labels: list[int]) -> Images:
    return pipe.sample(labels, seed=1, steps=2, order="halton", guidance=4.0, top_k=8)


def watch(pipe: Pipeline) -> list[int]:
    drawn: list[int] = []
    for step in pipe.steps([7], seed=1, steps=2, schedule="arccos", temperature=0.9):
        drawn += step.positions.tolist()
        assert step.canvas.shape == (1, *pipe.grid) and step.probabilities is not None
    return drawn


def first(pipe: Pipeline) -> Step:
    return next(pipe.steps(np.array([3]), steps=2))


def agree(one: Images, other: Images) -> float:
    return evaluate.share(one.ravel(), other.ravel())


names: list[str] = [model.name for model in minigen.known_models() if model.ships]
pipe = minigen.load("arpg-mnist", backend="numpy")
plan: Plan = minigen.plan(pipe.grid, order="spiral", schedule="cosine", steps=4)
how: Options = pipe.options(guidance=2.0, top_p=0.9)
images = draw(pipe, [3, 7])
assert pipe.generator.name in names and how.guidance == 2.0 and len(plan.groups) == 4
assert agree(images, draw(pipe, [3, 7])) == 1.0 and sorted(watch(pipe))[0] == 0
tokens = pipe.encode(images)
print(minigen.__version__, images.dtype, tokens.shape, pipe.decode(tokens).mean())
print(first(pipe).weight, pipe.picture(first(pipe).canvas).shape, plan.counts)
try:
    minigen.read_checkpoint("none.pt", key="ema")
except errors.CheckpointError as error:
    print(error)
