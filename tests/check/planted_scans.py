"""Mistakes in scans, each planted into one of our own kernels.

A file is made of the kernels of an op and of all that they call from other files of
its folder. As in `planted.py`: a few words are exchanged, and `minigen check` has to
find them.
"""

import ast
import inspect

from minigen.ops.selective_scan import cuda as selective_scan
from minigen.ops.selective_scan import cuda_scan
from minigen.ops.ssd import cuda as ssd
from minigen.ops.ssd import cuda_chunked
from tests.check.planted import Bug

HOMES = {
    "selective_scan": (cuda_scan, selective_scan),
    "ssd": (ssd,),
    "ssd_chunked": (cuda_chunked,),
}
"""The modules that hold the kernels of a function."""

OWN = ("minigen.ops.selective_scan", "minigen.ops.ssd")
"""Folders whose names a file has already, or does not need."""


def text_of(op: str) -> str:
    """Return the source of the kernels of a function, and of all that they call."""
    parts = ["from __future__ import annotations\n", *map(_body, HOMES[op])]
    return "\n\n".join(parts)


def _body(module):
    # without the docstring, what must come first, and what is imported from the folder
    lines = inspect.getsource(module).splitlines()
    tree = ast.parse("\n".join(lines))
    left_out = [
        node
        for node in tree.body
        if node is tree.body[0]
        or (
            isinstance(node, ast.ImportFrom)
            and (node.module == "__future__" or node.module.startswith(OWN))
        )
    ]
    for node in reversed(left_out):
        del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines).strip() + "\n"


def scan(title, right, wrong, kind, *words):
    """Return a bug of the selective scan."""
    return Bug(title, "selective_scan", "_selective_scan", right, wrong, kind, words)


def chunked(title, kernel, right, wrong, kind, *words):
    """Return a bug of one of the kernels of ssd_chunked."""
    return Bug(
        title, "ssd_chunked", f"_ssd_chunked_{kernel}", right, wrong, kind, words
    )


BUGS = (
    scan(
        "the carry between warps is forgotten",
        "h = _carry(ends, j & 1, warp, mine + k)",
        "h = np.float32(0)",
        "wrong value",
        "y[",
        "eps, 4 are allowed",
    ),
    scan(
        "a mask without the lanes past the end",
        "lower_b = cuda.shfl_up_sync(ALL, b, distance)",
        "lower_b = cuda.shfl_up_sync(0xFFFF, b, distance)",
        "mask",
        "0x0000ffff",
        "lower_b = cuda.shfl_up_sync(0xFFFF, b, distance)",
    ),
    scan(
        "two steps composed in the wrong order",
        "b = cuda.fma(a, lower_b, b)",
        "b = cuda.fma(lower_a, b, lower_b)",
        "wrong value",
        "eps, 4 are allowed",
    ),
    scan(
        "what is past the end is not inert",
        "v = np.float32(0)\n        if t < count and j < width:",
        "v = np.float32(1)\n        if t < count and j < width:",
        "wrong value",
        "state[",
    ),
    scan(
        "threads past the end leave",
        "        for k in range(OWN):\n            for i in range(TOKENS):\n"
        "                step[k, i]",
        "        if own >= count:\n            return\n"
        "        for k in range(OWN):\n            for i in range(TOKENS):\n"
        "                step[k, i]",
        "divergent barrier",
        "have exited",
    ),
    scan(
        "no barrier before the other warps' ends are read",
        "                cuda.syncthreads()\n                C0, C1",
        "                C0, C1",
        "race",
        "ends[turn, other",
    ),
    scan(
        "the state after the last token is not kept",
        "if place == last:",
        "if place == 0:",
        "wrong value",
        "state[",
    ),
    Bug(
        "lanes that take each other's states",
        "ssd",
        "_ssd",
        "j += LANES",
        "j += 1",
        "race",
        ("state[", "state[image, k, j] = h"),
    ),
    chunked(
        "the decay of the wrong token",
        "outputs",
        "            if k + e <= own:\n                exponent",
        "            if k + e < own:\n                exponent",
        "wrong value",
        "y[",
        "eps, 4 are allowed",
    ),
    chunked(
        "a token decays by its own step",
        "left",
        "math.exp(exponent) * steps[e])",
        "math.exp(exponent + exponents[e]) * steps[e])",
        "wrong value",
        "state[",
    ),
    chunked(
        "what is ahead is not masked",
        "outputs",
        "if k + e <= own and own < size:",
        "if own < size:",
        "wrong value",
        "y[",
    ),
    chunked(
        "no barrier before the next tokens are brought",
        "left",
        "        _multiply(us, keys, p - i, s - j, depth, sums)\n"
        "        cuda.syncthreads()\n",
        "        _multiply(us, keys, p - i, s - j, depth, sums)\n",
        "race",
        "keys[",
    ),
    chunked(
        "no barrier between the decays and what the state says",
        "outputs",
        "        decays[mine] = math.exp(exponent)\n    cuda.syncthreads()\n",
        "        decays[mine] = math.exp(exponent)\n",
        "race",
        "decays[",
    ),
    chunked(
        "the state after a chunk in place of the one before it",
        "states",
        "            left[image, m, head, c] = value\n"
        "            value = cuda.fma(decays[image, m, head], value, new)\n",
        "            value = cuda.fma(decays[image, m, head], value, new)\n"
        "            left[image, m, head, c] = value\n",
        "wrong value",
        "y[",
    ),
)
