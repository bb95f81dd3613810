"""One side of `minigen bench referee`, in a process of its own.

It is told names of kernels, a line each, and answers with the seconds of a launch and
what came of it, or that it does not know an instruction. The side "simulator" is
Numba's: NUMBA_ENABLE_CUDASIM is set for it.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from minigen.bench.referee.kernels import CASES
from minigen.errors import KernelError, MinigenError
from minigen.words import say_json

SIDES = ("simulator", "interpreter", "ptx", "interpreter, unwatched", "ptx, unwatched")
"""Numba's simulator; ours, with a look at every access and without."""


def launcher(side, case):
    """Return a function that launches a case on arguments."""
    if side == "simulator":
        return lambda arguments: case.kernel[case.grid, case.block](*arguments)
    if side.startswith("ptx"):
        from minigen.ptx import launch
    else:
        from minigen.simt import launch
    watch = not side.endswith("unwatched")
    return lambda arguments: launch(
        case.kernel, case.grid, case.block, *arguments, watch=watch
    )


def run(side, name) -> dict:
    """Launch a case once; return its seconds and the arrays as lists."""
    case = CASES[name]
    arguments = case.make(np.random.default_rng(0))
    launch = launcher(side, case)
    start = time.perf_counter()
    launch(arguments)
    seconds = time.perf_counter() - start
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    return {"seconds": seconds, "arrays": [array.ravel().tolist() for array in arrays]}


def main(side):
    """Answer until nothing more is asked."""
    say_json({"ready": side}, indent=None)
    for line in sys.stdin:
        try:
            answer = run(side, line.strip())
        except KernelError as error:
            if error.kind != "unsupported":
                raise
            answer = {"refused": str(error)}
        except MinigenError as error:
            answer = {"error": f"{line.strip()} on {side}: {error}"}
        say_json(answer, indent=None)


if __name__ == "__main__":
    main(sys.argv[1])
