"""The models that ship draw on a GPU the tokens that they draw on the CPU."""

import numpy as np
import pytest

from minigen.pipeline import load
from tests.gpu.device import MARKS
from tests.test_sample import compare

pytestmark = MARKS


MODELS = ("arpg-mnist", "aim-mnist", "gpt-mnist")
LATENTS = ("arinar-mnist", "mar-mnist")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_tokens_equal_numba_s(model, seed, record_property):
    """Near ties, where rounding may decide otherwise, are counted; they are few."""
    labels, runs = list(range(10)), []
    for backend in ("numba", "cuda"):
        pipe = load(model, backend=backend)
        runs.append(list(pipe.steps(labels, seed=seed, steps=16)))
    ties = compare(*runs, seed=seed)
    record_property("near_ties", ties)
    print(f"{model}, seed {seed}: {ties} near ties in {10 * 64} tokens")
    assert ties <= 2


@pytest.mark.parametrize("model", LATENTS)
@pytest.mark.parametrize("seed", range(3))
def test_latents_equal_numba_s(model, seed, record_property):
    """Nothing is chosen among candidates here: rounding moves what is drawn, a little.

    NumPy and Numba are 1e-5 apart, of latents of about 6.
    """
    labels, runs = list(range(10)), []
    how = {"guided_draw": "grid"} if model == "arinar-mnist" else {}
    for backend in ("numba", "cuda"):
        pipe = load(model, backend=backend)
        *_, last = pipe.steps(labels, seed=seed, steps=16, **how)
        runs.append(last.canvas)
    apart = abs(runs[0] - runs[1]).max()
    record_property("apart", float(apart))
    print(f"{model}, seed {seed}: latents are {apart:.1e} apart at most")
    assert apart < 1e-3


def test_images_equal_numba_s_but_for_rounding():
    tokens = np.random.default_rng(0).integers(0, 64, (4, 8, 8))
    numba, cuda = (load("arpg-mnist", backend=b).decode(tokens)
                   for b in ("numba", "cuda"))  # fmt: skip
    # a grey value near an integer may be truncated the other way, by one; an error
    # of 1e-5 in -1 .. 1, and no more is to be expected, does that to one in 800
    apart = np.abs(numba.astype(int) - cuda)
    assert apart.max() <= 1 and (apart > 0).mean() < 1 / 800


@pytest.mark.parametrize("model", MODELS + LATENTS)
def test_an_image_does_not_depend_on_its_batch(model):
    pipe = load(model, backend="cuda")
    together = pipe.sample([3, 7, 1], seed=2, steps=4)
    alone = pipe.sample([7], seed=2, steps=4, first=1)
    assert np.array_equal(together[1:2], alone)
