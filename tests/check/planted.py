"""Mistakes, each planted into one of the functions of `sound.py`.

Every one exchanges a few words of a source that is right. `kind` is what `minigen
check` has to call it, and `words` what it has to say, such as the line at fault.
"""

import inspect
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.check import sound


@dataclass(frozen=True)
class Bug:
    """What is planted: in `function`, `right` is replaced by `wrong`."""

    title: str
    op: str
    function: str
    right: str
    wrong: str
    kind: str
    words: tuple[str, ...]


def params(bugs) -> list:
    """Return bugs as parameters of a test: the first of its kind, the others slow."""
    kinds, found = set(), []
    for bug in bugs:
        marks = [pytest.mark.slow] if (bug.op, bug.kind) in kinds else []
        kinds.add((bug.op, bug.kind))
        found.append(pytest.param(bug, id=f"{bug.op}: {bug.title}", marks=marks))
    return found


def text_of(function: str) -> str:
    """Return the source of a function of `sound.py`, behind all that it needs."""
    source = inspect.getsource(sound)
    head = source[source.index("import math") : source.index("@cuda.jit")]
    value = getattr(sound, function)
    return head + inspect.getsource(getattr(value, "py_func", value))


def plant(bug: Bug, text: str, path: Path) -> str:
    """Write a source with a bug in it; return FILE:NAME as `--kernel` takes it."""
    assert text.count(bug.right) == 1, f"{bug.right!r} is not there once"
    path.write_text(text.replace(bug.right, bug.wrong))
    return f"{path}:{bug.function}"


def expect_named(bug: Bug, report) -> None:
    """Assert that a report calls a bug by its name, and says what it has to say."""
    assert not report.ok
    finding = report.findings[0]
    assert finding.kind == bug.kind, str(report)
    for word in bug.words:
        said = f"{finding.message}\n{finding.case}"
        assert word in said, f"{word!r} is not in\n{report}"


def kernel(title, function, right, wrong, kind, *words):
    """Return a bug of a kernel for rms_norm."""
    return Bug(title, "rms_norm", function, right, wrong, kind, words)


TREE, WARPS = "rms_norm_tree", "rms_norm_warps"
LOOP = "for k in range(t, d, cuda.blockDim.x):\n        y"
BODY = LOOP + "[i, k] = widen(w[k]) * (x[i, k] * scale)"
BARRIER = "    cuda.syncthreads()\n    half ="
SCALE = "scale = np.float32(1) / math.sqrt("

KERNELS = (
    kernel("one too far", TREE,
           LOOP, LOOP.replace("t, d,", "t, d + 1,"),
           "bounds", "w[1], outside of its shape (1,)", "mine.py:36: y[i, k] ="),
    kernel("a negative index", TREE,
           "value = x[i, k]", "value = x[i, k - d - 1]",
           "bounds", "x[0, -2], outside", "value = x[i, k - d - 1]"),
    kernel("no barrier before the sums are read", TREE,
           BARRIER, "    half =",
           "race", "sums[", "sums[t] = total", "sums[t] += sums[t + half]"),
    kernel("no barrier between the rounds", TREE,
           "sums[t] += sums[t + half]\n        cuda.syncthreads()",
           "sums[t] += sums[t + half]",
           "race", "sums[", "sums[t] += sums[t + half]"),
    kernel("a race between warps", WARPS,
           "    cuda.syncthreads()\n", "", "race", "partial[", "total += partial[j]"),
    kernel("a race between blocks", TREE,
           "i, t, d = cuda.blockIdx.x, cuda", "i, t, d = cuda.blockIdx.x // 2, cuda",
           "race", "y[0, 0]", "of block 0", "of block 1"),
    kernel("half of the lanes are left out", WARPS,
           "    total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 16)\n", "",
           "wrong value", "times what was expected: is a sum incomplete"),
    kernel("shared memory that nobody wrote", WARPS,
           "range(cuda.blockDim.x // 32)", "range(32)",
           "uninitialised", "partial[2], which nobody has written",
           "total += partial[j]"),
    kernel("the last element is not written", TREE,
           LOOP, LOOP.replace("t, d,", "t, d - 1,"),
           "never written", "nobody wrote y[0, 0]"),
    kernel("what is left after whole blocks is dropped", WARPS,
           LOOP, LOOP.replace("t, d,", "t, d // 32 * 32,"),
           "never written", "nobody wrote y[0, 0]"),
    kernel("what is left is not summed", WARPS,
           "for k in range(t, d, cuda.blockDim.x):\n        total",
           "for k in range(t, d - d % 2, cuda.blockDim.x):\n        total",
           "wrong value", "x (1 1 1)"),
    kernel("a width that is no multiple of 32", WARPS,
           "for k in range(t, d, cuda.blockDim.x):\n        total",
           "for k in range(t, (d + 31) // 32 * 32, cuda.blockDim.x):\n        total",
           "bounds", "x[0, 1], outside of its shape (1, 1)",
           "total += x[i, k] * x[i, k]"),
    kernel("a sum in float64", TREE,
           "total = np.float32(0)", "total = 0.0",
           "float64", "np.float32(...)", "total += value * value"),
    kernel("a literal in float64", WARPS,
           "math.sqrt(total / np.float32(d) + eps)",
           "math.sqrt(total * (1.0 / d) + eps)",
           "float64", "np.float32(...)", "math.sqrt(total * (1.0 / d) + eps)"),
    kernel("eps outside of the root", TREE,
           SCALE + "mean + eps)", "scale = np.float32(1) / (math.sqrt(mean) + eps)",
           "wrong value", "y[0, 0] is", "eps, 4 are allowed"),
    kernel("a sum instead of a mean", TREE,
           "mean = sums[0] / np.float32(d)", "mean = sums[0]",
           "wrong value", "each is 0.70", "x (1 1 2)"),
    kernel("weights of two bytes are not widened", WARPS,
           "widen(w[k])", "w[k]",
           "wrong value", "with w in float32 it is right", "widen"),
    kernel("rows and columns swapped", TREE,
           BODY, BODY.replace("y[i, k]", "y[k, i]"),
           "bounds", "y[1, 0], outside of its shape (1, 2)"),
    kernel("a barrier that some threads pass by", TREE,
           BARRIER, BARRIER.replace("    cuda", "    if t < 32:\n        cuda"),
           "divergent barrier", "wait at different barriers",
           "first: thread 0 of block 0", "first: thread 32 of block 0"),
    kernel("threads that leave before the barrier", WARPS,
           "    if lane == 0:\n", "    if t >= d:\n        return\n    if lane == 0:\n",
           "divergent barrier", "have exited"),
    kernel("a mask without all lanes", WARPS,
           "cuda.shfl_xor_sync(0xFFFFFFFF, total, 16)",
           "cuda.shfl_xor_sync(0xFFFF, total, 16)",
           "mask", "0x0000ffff", "total, 16)"),
    kernel("a shuffle within a branch", WARPS,
           "    total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 1)\n",
           "    if lane < 16:\n"
           "        total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 1)\n",
           "deadlock", "of mask 0xffffffff", "total, 1)"),
    kernel("more shared memory than there is", TREE,
           "cuda.shared.array(64, np.float32)",
           "cuda.shared.array(16384, np.float32)",
           "shared memory", "65536 bytes", "sums = cuda.shared.array"),
    kernel("an input is overwritten", WARPS,
           "        y[i, k] = widen(w[k]) * (x[i, k] * scale)",
           "        x[i, k] *= scale\n        y[i, k] = widen(w[k]) * x[i, k]",
           "input changed", "wrote into its input x"),
    kernel("read twice where the header says once", TREE,
           "value * value", "value * x[i, k]",
           "traffic",
           "header says x is read 2 times a cell, the kernel read x[0, 0] 3 times"),
    kernel("less shared memory than the header says", TREE,
           "Shared memory: 256 bytes.", "Shared memory: 512 bytes.",
           "traffic", "512 bytes of shared memory, the kernel took 256"),
    kernel("rows that depend on where they stand", WARPS,
           "    for j in range(cuda.blockDim.x // 32):\n        total += partial[j]",
           "    for j in range(cuda.blockDim.x // 32):\n"
           "        total += partial[j]\n"
           "    if i == 0:\n"
           "        total *= np.float32(1.0000005)",
           "order", "a row depends on its batch"),
    kernel("Python that a GPU does not have", TREE,
           "mean = sums[0] / np.float32(d)", "mean = {0: sums[0]}[0] / np.float32(d)",
           "compile", "it does not compile"),
    kernel("a local array with an index that is not known", WARPS,
           "    total = np.float32(0)\n    for j",
           "    total = np.float32(0)\n"
           "    own = cuda.local.array(64, np.float32)\n"
           "    own[t] = np.float32(0)\n"
           "    own[d % 64] = np.float32(0)\n"
           "    total += own[t]\n"
           "    for j",
           "spills", "no local array whose index"),
    Bug("exp that overflows in a kernel", "swiglu", "swiglu_cells",
        "sigmoid = (small if g < np.float32(0) else one) / (one + small)",
        "sigmoid = math.exp(g) / (one + math.exp(g))",
        "wrong value", ("is nan", "exp overflows float32 above 88")),
    Bug("a last block that is not full", "swiglu", "swiglu_cells",
        "if i < y.size:", "if i < y.size + 1:",
        "bounds",
        ("gate[1], outside of its shape (1,)", "one, g = np.float32(1), gate[i]")),
    Bug("columns read backwards", "linear", "linear_naive",
        "widen(w[j, k])", "widen(w[j, x.shape[1] - 1 - k])",
        "wrong value", ("w (1 2) float32", "eps, 4 are allowed")),
    Bug("a term left out", "linear", "linear_naive",
        "range(x.shape[1])", "range(1, x.shape[1])",
        "wrong value", ("eps, 4 are allowed",)),
    Bug("the halves of a gate swapped", "gated_silu", "gated_silu",
        "value, gate = x[i, k], x[i, f + k]", "gate, value = x[i, k], x[i, f + k]",
        "wrong value", ("x (1 1 2) float32", "eps, 4 are allowed")),
    Bug("columns from the first one on", "columns", "columns",
        "x[i, first + k]", "x[i, k]", "wrong value", ("y[0, 0] is", "first 1")),
    Bug("the shift of another image", "modulate", "modulate",
        "+ shift[i, k]", "+ shift[0, k]",
        "wrong value", ("y[1, 0, 0] is", "x (2 1 1) float32")),
    Bug("one of two results is not written", "add_rms_norm", "add_rms_norm",
        "        total[i, k] = x[i, k] + residual[i, k]\n"
        "        y[i, k] = widen(w[k]) * (total[i, k] * scale)",
        "        y[i, k] = widen(w[k]) * ((x[i, k] + residual[i, k]) * scale)",
        "never written", ("nobody wrote total[0, 0]",)),
    Bug("a sequence shorter than the window forgets what was before", "causal_conv",
        "causal_conv",
        "else state[i, n + row, k]", "else np.float32(0)",
        "wrong value", ("state[0, 0, 0] is 0, expected", "w (1 2) float32")),
    Bug("a state that is moved on while it is read", "causal_conv", "causal_conv",
        "    cuda.syncthreads()\n", "",
        "race", ("state[0, ", "else state[i, ", "state[i, row, k] = kept")),
    Bug("a window that lies a token too early", "causal_conv", "causal_conv",
        "at = t - window + 1 + j", "at = t - window + j",
        "wrong value", ("y[0, 0, 0] is", "x (1 1 1) float32")),
    Bug("a softplus that overflows", "step_size", "step_size",
        "delta = v if v > np.float32(20) else math.log1p(math.exp(v))",
        "delta = math.log1p(math.exp(v))",
        "wrong value", ("is inf", "exp overflows float32 above 88", "highest inf")),
)  # fmt: skip


def function(title, op, right, wrong, kind, *words, name=None):
    """Return a bug of a function that is called like the reference."""
    return Bug(title, op, name or op, right, wrong, kind, words)


FUNCTIONS = (
    function("exp that overflows", "swiglu",
             "small = np.exp(-np.abs(gate))\n"
             "    sigmoid = np.where(gate < 0, small, np.float32(1)) / (1 + small)",
             "small = np.exp(gate)\n    sigmoid = small / (1 + small)",
             "wrong value", "is nan", "exp overflows float32 above 88"),
    function("float64 is returned", "guide",
             # a number alone would do with NumPy 2, and change nothing before
             "np.float32(weight)", "np.array([weight])",
             "dtype", "float64 was returned, expected float32"),
    function("another shape is returned", "guide",
             "np.split(logits, 2)", "np.split(logits[None], 2, axis=1)",
             "shape", "shape (1 1 1 1) was returned, expected (1 1 1)"),
    function("halves swapped", "guide",
             "conditional, unconditional =", "unconditional, conditional =",
             "wrong value", "eps, 4 are allowed"),
    function("bytes read as if they lay without gaps", "swiglu",
             "    small =",
             "    gate = np.lib.stride_tricks.as_strided(\n"
             "        gate, gate.shape, np.empty(gate.shape, np.float32).strides\n"
             "    )\n"
             "    small =",
             "layout", "right on plain arrays, but not where inputs"),
    function("an input is overwritten", "swiglu",
             "return gate * sigmoid * up", "gate *= sigmoid\n    return gate * up",
             "input changed", "wrote into its input gate"),
    function("a mean over the whole batch", "rms_norm",
             "np.mean(x * x, axis=-1, keepdims=True)", "np.mean(x * x)",
             "wrong value", "eps, 4 are allowed"),
    function("an element that nobody writes", "rms_norm",
             "y[...] = w.astype(np.float32) * (x / np.sqrt(mean + np.float32(eps)))",
             "y[..., 1:] = (w * (x / np.sqrt(mean + np.float32(eps))))[..., 1:]",
             "never written", "nobody wrote result[0, 0, 0]"),
    function("ids that count from one", "embed",
             "table[ids]", "table[ids - 1]", "wrong value", "ids (1"),
    function("pairs are halves", "rope2d",
             "x[..., 0::2], x[..., 1::2]", "np.split(x, 2, axis=-1)",
             "wrong value", "eps, 4 are allowed"),
    function("cells in another order than their shape says", "linear",
             "w.astype(np.float32).T", "w.astype(np.float32).reshape(w.shape[::-1])",
             "wrong value", "w (2 2)"),
    function("a copy is returned", "append",
             "    cache[", "    cache = cache.copy()\n    cache[",
             "not in place", "cache is to be written in place"),
    function("an exception", "embed",
             "table[ids]", "table[ids, 5]",
             "exception", "IndexError", "mine.py:", "table[ids, 5]"),
    function("an njit function that wants one axis", "rms_norm",
             "    b, n, d = x.shape\n",
             "    b, n, d = x.shape\n    x = x.reshape(b * n * d).reshape(b, n, d)\n",
             "layout", "where inputs", name="rms_norm_njit"),
    function("a sum that takes another order in odd rows", "rms_norm",
             "                total += x[i, j, k] * x[i, j, k]",
             "                l = k if j == 0 else d - 1 - k\n"
             "                total += x[i, j, l] * x[i, j, l]",
             "order", "a row depends on its batch", name="rms_norm_njit"),
    function("one result of two", "add_rms_norm",
             "(total / np.sqrt(mean + np.float32(eps))), total",
             "(total / np.sqrt(mean + np.float32(eps)))",
             "type", "one result returned, expected 2 results",
             name="add_rms_norm_numpy"),
    function("the second of two results is wrong", "add_rms_norm",
             "(total / np.sqrt(mean + np.float32(eps))), total",
             "(total / np.sqrt(mean + np.float32(eps))), x",
             "wrong value", "result[1][0, 0, 0] is", name="add_rms_norm_numpy"),
    function("a mean over all groups", "gate_rms_norm",
             "np.mean(groups * groups, axis=-1, keepdims=True)",
             "np.mean(groups * groups, axis=(-1, -2), keepdims=True)",
             "wrong value", "r 2"),
    function("a gate behind the norm", "gate_rms_norm",
             "groups = v.reshape(", "groups = x.reshape(",
             "wrong value", "eps, 4 are allowed"),
    function("a state that is not moved on", "causal_conv",
             "state[...] = seen", "state = seen",
             "not in place", "state is to be written in place",
             name="causal_conv_numpy"),
    function("a state that is moved on one token only", "causal_conv",
             "seen[:, n:]", "seen[:, 1 : window + 1]",
             "wrong value", "state[0, 0, 0] is", "x (1 2 1)", name="causal_conv_numpy"),
)  # fmt: skip

BUGS = KERNELS + FUNCTIONS
