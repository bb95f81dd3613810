"""Mistakes of typing and compiling, each planted into a kernel of `typed.py`.

Most of them are right in Python's arithmetic and wrong in a GPU's; others do not
compile, although the source interpreter alone could run them.
"""

import inspect

from tests.check import typed
from tests.check.planted import Bug


def text_of(_) -> str:
    """Return the source of all kernels of typed.py."""
    return inspect.getsource(typed)


def bug(title, kernel, right, wrong, kind="wrong value", *words):
    """Return a bug of a kernel of typed.py."""
    return Bug(title, kernel, kernel, right, wrong, kind, words)


NOT = "compile", "it does not compile"
EACH = "        total += x[i, k]\n"
STORE = "        y[i] = total + float32(first)"

BUGS = (
    bug("a product of uint32 is a uint64", "mix",
        "h = uint32(h * uint32(0x85EBCA6B))", "h = h * uint32(0x85EBCA6B)",
        "wrong value", ", expected"),
    bug("a shift that brings the sign along", "mix",
        "uint32(h ^ (h >> uint32(13)))", "uint32(h ^ (int32(h) >> uint32(13)))",
        "wrong value", ", expected"),
    bug("a multiplier that became signed", "mix",
        "x[i] >> uint32(16)", "int32(x[i]) >> uint32(16)",
        "wrong value", ", expected"),
    bug("sums in eight bits", "mean",
        "array(LANES, int32)", "array(LANES, uint8)", "wrong value", ", expected"),
    bug("sums in eight bits with a sign", "mean",
        "array(LANES, int32)", "array(LANES, int8)", "wrong value", ", expected"),
    bug("a division of integers", "mean",
        "float32(total) / float32(x.shape[1])", "total // x.shape[1]",
        "wrong value", ", expected"),
    bug("a cast that rounds to zero", "quantise",
        "int8(math.floor(v))", "int8(v)",
        "wrong value", "too large by 1: a cast cuts off, floor rounds down"),
    bug("a cast before the range is cut", "quantise",
        "int8(math.floor(v))", "int8(math.floor(x[i] * float32(16)))",
        "wrong value", ", expected -127"),
    bug("a byte without a sign", "quantise",
        "int8(math.floor(v))", "uint8(max(math.floor(v), 0))",
        "wrong value", ", expected"),
    bug("a difference of unsigned numbers", "distance",
        "int32(a[i]) - int32(b[i])", "a[i] - b[i]", "wrong value", ", expected"),
    bug("a difference in eight bits", "distance",
        "int32(a[i]) - int32(b[i])", "int8(a[i] - b[i])", "wrong value", ", expected"),
    bug("a uint64 through a float64", "before",
        "x[i] - uint64(1)", "uint64(x[i] * 1.0) - uint64(1)",
        "wrong value", ", expected"),
    bug("a uint64 through a float32", "before",
        "x[i] - uint64(1)", "uint64(float32(x[i])) - uint64(1)",
        "wrong value", ", expected"),
    bug("a division that gives a float as an index", "search",
        "(low + high) // 2", "(low + high) / 2", *NOT),
    bug("a bound that is an int, then a float", "search",
        "low = mid + 1", "low = np.float32(mid + 1)", *NOT),
    bug("a local array of a size that is not known", "pairs",
        "cuda.local.array(4, float32)", "cuda.local.array(x.shape[1], float32)", *NOT),
    bug("a list built in a kernel", "pairs",
        STORE, "        y[i] = sum([total, float32(first)])", *NOT),
    bug("a dict in a kernel", "pairs",
        STORE, "        y[i] = {0: total}[first]", *NOT),
    bug("a text with numbers in it", "pairs",
        STORE, '        print(f"{total}")\n' + STORE, *NOT),
    bug("an exception that is caught", "pairs",
        STORE, "        try:\n    " + STORE + "\n        except Exception:\n"
        "            y[i] = total", *NOT),
    bug("an array's method that a GPU does not have", "pairs",
        STORE, "        y[i] = np.sort(own)[0] * 0 + total", *NOT),
    bug("a constant array that is written to", "pairs",
        STORE, "        TABLE[first] = total\n" + STORE, *NOT),
    bug("a name that is a number, then an array", "pairs",
        "        first = 0\n", "        first = 0\n        if i == 1:\n"
        "            first = own\n", *NOT),
    bug("sixteen bytes from a place between", "fours",
        "load16(x, i)", "load16(x, i - i % 8 + 1 if i % 8 else i)",
        "alignment"),
)  # fmt: skip
