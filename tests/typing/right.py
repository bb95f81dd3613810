"""A program in which `mypy --strict` and pyright find nothing, and which runs."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

import minigen
from minigen import Drawing, Options, Pipeline, Plan, Step, errors, evaluate
from minigen.images import outline

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


def mend(pipe: Pipeline, image: Images, plan: Plan) -> Path:
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[8:24, 8:] = True
    answers: Drawing = pipe.inpaint(
        image, mask, 7, count=2, paste=True, seed=3, steps=2
    )
    tokens = answers.tokens
    again = pipe.draw([7, 7], known=tokens, progress=lambda done, of: print(done, of))
    assert (again.tokens == tokens).all()
    wide = pipe.outpaint(image, 7, 4, steps=1).images, pipe.expand(7, (9, 8)).images
    print(wide[0].shape, wide[1].shape, pipe.edit(image, mask, 3, steps=1).recipe.known)
    return pipe.save(pipe.draw([7], plan=plan), Path(mkdtemp()) / "seven.png", scale=2)


def fill(pipe: Pipeline, labels: list[int]) -> Path:
    def tell(done: int, total: int) -> None:
        print(done, total)

    folder = Path(mkdtemp())
    call = labels, folder
    pipe.draw_many(*call, format="webp", memory="2GB", progress=tell, seed=3, steps=2)
    return pipe.draw_many(*call, format="webp", batch=4, seed=3, steps=2)


def follow(pipe: Pipeline, digits: Images) -> Drawing:
    control = pipe.encode(outline(digits))
    print(pipe.sample([3, 7], steps=2, control=control).shape)
    print(next(pipe.steps([3, 7], steps=2, control=control)).canvas)
    return pipe.draw([7, -1], control=control[:1], steps=2)


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
print(mend(pipe, images[0], plan), fill(pipe, [3, 7]))
print(follow(minigen.load("arpg-mnist-control"), images).recipe.control)
print(minigen.__version__, images.dtype, tokens.shape, pipe.decode(tokens).mean())
print(first(pipe).weight, pipe.picture(first(pipe).canvas).shape, plan.counts)
try:
    minigen.read_checkpoint("none.pt", key="ema")
except errors.CheckpointError as error:
    print(error)
