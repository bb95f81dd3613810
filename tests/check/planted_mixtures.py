"""Mistakes in mixtures of Gaussians, each planted into a copy of a file of kernels.

As in `planted.py`: a few words are exchanged, and `minigen check` has to find them.
"""

import inspect

from minigen.ops.guided_mixture import cuda as guided_mixture
from minigen.ops.mixture import cuda as mixture
from tests.check.planted import Bug


def text_of(bug: Bug) -> str:
    """Return the source that a bug is planted into."""
    file = guided_mixture if bug.op == "draw_guided" else mixture
    return inspect.getsource(file)


def one(title, kernel, right, wrong, kind="wrong value", *words):
    """Return a bug of one of the kernels of mixture."""
    return Bug(
        title, kernel.removeprefix("_"), kernel, right, wrong, kind, words or WRONG
    )


def guided(title, right, wrong, kind="wrong value", *words):
    """Return a bug of the kernel of guided_mixture."""
    return Bug(title, "draw_guided", "_draw_guided", right, wrong, kind, words or WRONG)


WRONG = ("4 are allowed",)

BUGS = (
    one("a weight is not normalised", "_mixture", "own / total", "own"),
    one(
        "log-sum-exp without the maximum",
        "_log_likelihood",
        "total += math.exp(power - highest)\n        y[i, at % m] = highest + math",
        "total += math.exp(power)\n        y[i, at % m] = math",
        "wrong value",
        "y[",
    ),
    one(
        "a component is off by one where a sum is reached",
        "_draw_component",
        "k < last and",
        "k < last - 1 and",
        "wrong value",
        "y[",
    ),
    one(
        "a variance for a deviation",
        "_draw_value",
        "math.exp(np.float32(0.5) * log_variances[i, k, p])",
        "math.exp(log_variances[i, k, p])",
    ),
    one(
        "the candidate of the row before",
        "_take",
        "k, value = chosen[i],",
        "k, value = chosen[i - 1],",
        "bounds",
        "chosen[-1",
    ),
    guided("the temperature is of the height only", "* stretch", ""),
    guided(
        "the other mixture's components stand where the first's do",
        "first = g if which == _OTHER else 0",
        "first = 0",
    ),
    guided(
        "guidance of the density that is not tempered",
        "power += weight * ratio",
        "power += weight * (power - plain + ratio)",
    ),
    guided(
        "no barrier before points are sorted",
        "        q[j] = min(max(there, low), high)\n    cuda.syncthreads()\n",
        "        q[j] = min(max(there, low), high)\n",
        "race",
        "q[",
    ),
    guided(
        "equal points take the same place",
        "(there == v and k < own)",
        "(there == v and k < 0)",
        "race",
        "x[",
    ),
)
