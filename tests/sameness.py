"""How far two backends keep the promise of sameness (`minigen.sameness`), counted.

    python -m tests.sameness arinar-mnist --count 100
    python -m tests.sameness aim-mnist gpt-mnist --backends numpy numba --seed 7

draws images of a model on both backends and prints how many tokens differ, each with
how near its draw was, and how many images have pixels one level of 255 apart. Exit
status 1 if anything differs that should not.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from minigen import load
from minigen.pipeline import BATCH
from minigen.sameness import LEVELS, differences
from minigen.show.recipe import Recipe, canvases, signed


@dataclass(frozen=True)
class Count:
    """What was found on b images.

    tokens: drawn on each backend; ties, broken: tokens of the first step in which an
    image parts, near-ties and others; parted: images that do; exact, level: images of
    the rest whose pixels are equal, or LEVELS apart at most; more: those further apart.
    """

    tokens: int
    ties: tuple
    broken: tuple
    parted: int
    exact: int
    level: int
    more: int

    @property
    def kept(self) -> bool:
        return not (self.broken or self.more)


def count(one, other, recipe, batch=BATCH) -> Count:
    """Draw a recipe with two pipelines, and compare image by image."""
    recipe = signed(recipe, one)
    plan = one.plan(recipe.order, recipe.schedule, recipe.steps, recipe.seed)
    end = [len(plan.groups) - 1]
    old, new = (canvases(pipe, recipe, end, batch)[0] for pipe in (one, other))
    found = list(differences(other, plan, recipe, old, new))
    parted = np.isin(np.arange(len(old)) + recipe.first, [d.image for d in found])
    apart = np.abs(one.decode(old).astype(int) - other.decode(new)).max((1, 2, 3))
    return Count(
        tokens=len(old) * len(plan.order),
        ties=tuple(d for d in found if d.near),
        broken=tuple(d for d in found if not d.near),
        parted=int(parted.sum()),
        exact=int((apart[~parted] == 0).sum()),
        level=int(((apart > 0) & (apart <= LEVELS) & ~parted).sum()),
        more=int(((apart > LEVELS) & ~parted).sum()),
    )


def lines(result: Count):
    """Yield what was found in words."""
    yield f"{result.tokens} tokens were drawn on each"
    yield f"{result.parted} images part, at {len(result.ties)} near-ties"
    for kind in ("ties", "broken"):
        for d in getattr(result, kind):
            near = "no near-tie" if kind == "broken" else "near-tie"
            yield (
                f"  {near}: image {d.image}, step {d.step}, position {d.position}, "
                f"margin {d.margin}, rounding explains {d.allowed:.2g}"
            )
    yield f"{result.exact} images have equal pixels"
    yield f"{result.level} images have pixels {LEVELS} level apart, the rest equal"
    yield f"{result.more} images have the same tokens, and pixels further apart"


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--backends", nargs=2, default=["numpy", "numba"])
    parser.add_argument("--count", type=int, default=20, help="images (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    given = parser.parse_args(arguments)
    kept = True
    for model in given.models:
        pipes = [load(model, backend=backend) for backend in given.backends]
        classes = tuple(i % pipes[0].config.classes for i in range(given.count))
        recipe = Recipe(model=model, labels=classes, seed=given.seed, steps=given.steps)
        result = count(*pipes, recipe)
        kept &= result.kept
        print(f"{model}: {given.count} images, {' against '.join(given.backends)}")
        print(*(f"  {line}" for line in lines(result)), sep="\n", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
