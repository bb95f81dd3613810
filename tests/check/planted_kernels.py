"""Mistakes planted into our own kernels: each into a copy of the file that holds them.

As in `planted.py`: a few words are exchanged, and `minigen check` has to find them.
"""

import ast
import inspect

from minigen.ops.guided_mixture import cuda as guided_mixture
from minigen.ops.layer_norm import cuda as layer_norm
from minigen.ops.mamba2_step import cuda as mamba2_step
from minigen.ops.mixture import cuda as mixture
from minigen.ops.rows import cuda as rows
from minigen.ops.selective_scan import cuda as selective_scan
from minigen.ops.selective_scan import cuda_scan
from minigen.ops.ssd import cuda as ssd
from minigen.ops.ssd import cuda_chunked
from tests.check.planted import Bug

HOMES = {
    "layer_norm": (layer_norm,),
    "standardise": (layer_norm,),
    "draw_guided": (guided_mixture,),
    "gather": (rows,),
    "selective_scan": (cuda_scan, selective_scan),
    "ssd": (ssd,),
    "ssd_chunked": (cuda_chunked,),
    "mamba2_step": (mamba2_step,),
}
"""The modules that hold the kernels of a function; of all others it is mixture."""

OWN = ("minigen.ops.selective_scan", "minigen.ops.ssd")
"""Folders whose names a file has already, or does not need."""


def text_of(op: str) -> str:
    """Return the source of the kernels of a function, and of all that they call from
    other files of their folder."""
    bodies = map(_body, HOMES.get(op, (mixture,)))
    return "\n\n".join(["from __future__ import annotations\n", *bodies])


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


WRONG = ("4 are allowed",)
AWAY = "        away = x[i, k] - mean\n"
AFFINE, PLAIN = "_layer_norm", "_standardise"
GUIDED, SCAN = "_draw_guided", "_selective_scan"
CHUNKED = "_ssd_chunked_"
ONE, HEAD, NORM = "_mamba2_step", "_mamba2_step_head", "_mamba2_step_norm"


def bug(title, kernel, right, wrong, kind="wrong value", *words):
    """Return a bug of a kernel. Its name is the function's, or begins with it."""
    several = ("ssd_chunked", "mamba2_step")
    op = next((op for op in several if kernel[1:].startswith(op)), kernel[1:])
    return Bug(title, op, kernel, right, wrong, kind, words or WRONG)


BUGS = (
    bug("squares of the numbers, not of their distances from the mean", PLAIN,
        AWAY, "        away = x[i, k]\n", "wrong value", "eps, 4 are allowed"),
    bug("the variance of a sample", PLAIN,
        "block_sum(squares, partial) / np.float32(d)",
        "block_sum(squares, partial) / np.float32(max(d - 1, 1))",
        "wrong value", "eps, 4 are allowed"),
    bug("a mean of one thread's numbers", AFFINE,
        "block_sum(total, partial) / np.float32(d)", "total / np.float32(d)",
        "wrong value", "eps, 4 are allowed"),
    bug("the bias is scaled", AFFINE,
        "widen(w[k]) * ((x[i, k] - mean) * scale) + widen(bias[k])",
        "widen(w[k]) * ((x[i, k] - mean) * scale + widen(bias[k]))",
        "wrong value", "eps, 4 are allowed"),
    bug("a weight is not normalised", "_mixture", "own / total", "own"),
    bug("log-sum-exp without the maximum", "_log_likelihood",
        "total += math.exp(power - highest)\n        y[i, at % m] = highest + math",
        "total += math.exp(power)\n        y[i, at % m] = math",
        "wrong value", "y["),
    bug("a component is off by one where a sum is reached", "_draw_component",
        "k < last and", "k < last - 1 and", "wrong value", "y["),
    bug("a variance for a deviation", "_draw_value",
        "math.exp(np.float32(0.5) * log_variances[i, k, p])",
        "math.exp(log_variances[i, k, p])"),
    bug("the row behind the one that was asked for", "_gather",
        "x[i, row, k] if", "x[i, row + 1, k] if", "bounds", "outside of its shape"),
    bug("the temperature is of the height only", GUIDED, "* stretch", ""),
    bug("the other mixture's components stand where the first's do", GUIDED,
        "first = g if which == _OTHER else 0", "first = 0"),
    bug("guidance of the density that is not tempered", GUIDED,
        "power += weight * ratio", "power += weight * (power - plain + ratio)"),
    bug("no barrier before points are sorted", GUIDED,
        "        q[j] = min(max(there, low), high)\n    cuda.syncthreads()\n",
        "        q[j] = min(max(there, low), high)\n",
        "race", "q["),
    bug("equal points take the same place", GUIDED,
        "(there == v and k < own)", "(there == v and k < 0)", "race", "x["),
    bug("the carry between warps is forgotten", SCAN,
        "h = _carry(ends, j & 1, warp, mine + k)", "h = np.float32(0)",
        "wrong value", "y[", "eps, 4 are allowed"),
    bug("a mask without the lanes past the end", SCAN,
        "lower_b = cuda.shfl_up_sync(ALL, b, distance)",
        "lower_b = cuda.shfl_up_sync(0xFFFF, b, distance)",
        "mask", "0x0000ffff", "lower_b = cuda.shfl_up_sync(0xFFFF, b, distance)"),
    bug("two steps composed in the wrong order", SCAN,
        "b = cuda.fma(a, lower_b, b)", "b = cuda.fma(lower_a, b, lower_b)",
        "wrong value", "eps, 4 are allowed"),
    bug("what is past the end is not inert", SCAN,
        "v = np.float32(0)\n        if t < count and j < width:",
        "v = np.float32(1)\n        if t < count and j < width:",
        "wrong value", "state["),
    bug("threads past the end leave", SCAN,
        "        for k in range(OWN):\n            for i in range(TOKENS):\n"
        "                step[k, i]",
        "        if own >= count:\n            return\n"
        "        for k in range(OWN):\n            for i in range(TOKENS):\n"
        "                step[k, i]",
        "divergent barrier", "have exited"),
    bug("no barrier before the other warps' ends are read", SCAN,
        "                cuda.syncthreads()\n                C0, C1",
        "                C0, C1",
        "race", "put a barrier between them"),
    bug("the state after the last token is not kept", SCAN,
        "if place == last:", "if place == 0:", "wrong value", "state["),
    bug("lanes that take each other's states", "_ssd",
        "j += LANES", "j += 1", "race", "state[", "state[image, k, j] = h"),
    bug("the decay of the wrong token", CHUNKED + "outputs",
        "            if k + e <= own:\n                exponent",
        "            if k + e < own:\n                exponent",
        "wrong value", "y[", "eps, 4 are allowed"),
    bug("a token decays by its own step", CHUNKED + "left",
        "math.exp(exponent) * steps[e])",
        "math.exp(exponent + exponents[e]) * steps[e])",
        "wrong value", "state["),
    bug("what is ahead is not masked", CHUNKED + "outputs",
        "if k + e <= own and own < size:", "if own < size:", "wrong value", "y["),
    bug("no barrier before the next tokens are brought", CHUNKED + "left",
        "        _multiply(us, keys, p - i, s - j, depth, sums)\n"
        "        cuda.syncthreads()\n",
        "        _multiply(us, keys, p - i, s - j, depth, sums)\n",
        "race", "keys["),
    bug("no barrier between the decays and what the state says", CHUNKED + "outputs",
        "        decays[mine] = math.exp(exponent)\n    cuda.syncthreads()\n",
        "        decays[mine] = math.exp(exponent)\n",
        "race", "decays["),
    bug("the state after a chunk in place of the one before it", CHUNKED + "states",
        "            left[image, m, head, c] = value\n"
        "            value = cuda.fma(decays[image, m, head], value, new)\n",
        "            value = cuda.fma(decays[image, m, head], value, new)\n"
        "            left[image, m, head, c] = value\n",
        "wrong value", "y["),
    bug("an input is moved before it is read", ONE,
        "    for j in range(newest):\n        v = x[i, j + 1, c]\n        if keep:\n",
        "    for j in range(newest):\n        v = x[i, j, c]\n        if keep:\n",
        "wrong value", "eps, 4 are allowed"),
    bug("what all heads read moves on before all have read it", HEAD,
        "c, keep or own)", "c, True)", "race", "x[0, "),
    bug("the norm is over one head only", ONE,
        "    _gate_norm(signal, 0, u, norm, i, first, count, eps, partial, y)",
        "    for k in range(0, count, p):\n"
        "        _gate_norm(signal, k, u, norm, i, first + k, p, eps, partial, y)",
        "wrong value", "eps, 4 are allowed"),
    bug("the norm stops behind the first head", ONE,
        "signal, 0, u, norm, i, first, count, eps, partial, y)",
        "signal, 0, u, norm, i, first, p, eps, partial, y)",
        "never written", "nobody wrote y["),
    bug("a mean over all groups", NORM,
        "np.float32(count)", "np.float32(norm.shape[0])",
        "wrong value", "eps, 4 are allowed"),
    bug("no barrier before the channels are scanned", HEAD,
        "    _rates(u, dt, A, D, i, j, 1, heads)\n    cuda.syncthreads()\n",
        "    _rates(u, dt, A, D, i, j, 1, heads)\n",
        "race", "signal["),
    bug("B and C of the other group", HEAD,
        "g = j // (D.shape[0] // r)", "g = j % r", "wrong value", "eps, 4 are allowed"),
)  # fmt: skip
