"""Is a result right? If not: where first, by how much, and with which pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigen.checking.patterns import appearance
from minigen.checking.report import Finding
from minigen.checking.spec import each, reference, several, written
from minigen.checking.specs import Spec, errors, expected
from minigen.checking.tolerance import EPS, FACTOR, TINY
from minigen.simt.pattern import is_poison


@dataclass(frozen=True)
class Label:
    """The name of a result in messages: a kernel may have another name and shape."""

    name: str = "result"
    shape: tuple[int, ...] | None = None

    def cell(self, index, shape) -> str:
        """Return the name of one cell of a result of `shape`."""
        if self.shape is not None and np.prod(self.shape) == np.prod(shape):
            index = np.unravel_index(np.ravel_multi_index(index, shape), self.shape)
        inside = ", ".join(str(int(i)) for i in index)
        return f"{self.name}[{inside}]" if len(index) else self.name


def judge(spec: Spec, case, result, labels=()) -> tuple[Finding | None, float]:
    """Return what is wrong with a result, or None; and its largest error in eps.

    labels: of each of several results, or of the one; by default `labels_of(...)`.
    """
    exact = expected(spec, case)
    kinds = several(each(_dtype, reference(spec)(**_copied(case))))
    labels = labels or labels_of(spec, exact)
    counts = _count(result), _count(exact)
    if counts[0] != counts[1]:
        said = f"{counts[0]} returned, expected {counts[1]}"
        return Finding("type", said), np.inf
    given, wanted = several(result), several(exact)
    for part in zip(given, wanted, kinds, labels, strict=True):
        finding = _misshapen(*part)
        if finding is not None:
            return finding, np.inf
    off = several(errors(spec, case, each(np.asarray, result)))
    worst = [float(np.max(part, initial=0.0)) for part in off]
    if max(worst) <= FACTOR:
        return None, max(worst)
    # the first that is wrong: others may follow from it
    i = next(i for i, most in enumerate(worst) if not most <= FACTOR)
    allowed = None
    if spec.magnitude is not None:
        allowed = FACTOR * (EPS * several(spec.magnitude(**case))[i] + TINY)
    part = np.asarray(given[i]), wanted[i], off[i], allowed, labels[i]
    return Finding("wrong value", _difference(case, *part)), worst[i]


def labels_of(spec, result) -> list[Label]:
    """Return what results are called: those written in place by their arguments."""
    count, named = len(several(result)), [Label(name) for name in spec.changes]
    if count == 1:
        return named or [Label()]
    others = range(count - len(named))
    return [*(Label(f"result[{i}]") for i in others), *named]


def in_place(spec, before, after, result, who) -> Finding | None:
    """Return the finding that an input was changed, or None.

    before: the bytes of every array argument; after: the arrays; who: wrote into them.
    """
    last = written(spec, result)
    for name, bits in before.items():
        if name not in last and after[name].tobytes() != bits:
            return Finding("input changed", f"the {who} wrote into its input {name}")
        if name in last and same_bits(after[name], last[name]) is not None:
            said = f"{name} is to be written in place, and was left as it was"
            return Finding("not in place", said)
    return None


def same_bits(one, other) -> tuple | None:
    """Return the index of the first cell whose bits differ in two results, or None.

    For several results: the number of the result, then the index.
    """
    if isinstance(one, tuple):
        cells = map(same_bits, one, other)
        return next(((i, *at) for i, at in enumerate(cells) if at is not None), None)
    bits = [_bits(np.ascontiguousarray(array)) for array in (one, other)]
    where = np.argwhere(bits[0] != bits[1])
    return tuple(int(i) for i in where[0]) if len(where) else None


def described(case) -> str:
    """Return a case in words: shapes and dtypes of arrays, a few values, the rest.

    >>> described({"x": np.ones((1, 2), np.float32), "eps": 1e-5})
    'x (1 2) float32 [1, 1], eps 1e-05'
    """
    return ", ".join(f"{name} {_content(value)}" for name, value in case.items())


def _content(value):
    if not isinstance(value, np.ndarray):
        return str(value)
    few = ""
    if value.size <= 3:
        few = f" [{', '.join(f'{float(v):.6g}' for v in value.ravel())}]"
    return f"{_shape(value.shape)} {value.dtype}{few}"


def _count(result):
    return f"{len(result)} results" if isinstance(result, tuple) else "one result"


def _misshapen(result, exact, kind, label):
    # what can be said of a result before its numbers are looked at
    of = "" if label.name == "result" else f" for {label.name}"
    if not isinstance(result, (np.ndarray, np.generic)):
        said = f"{type(result).__name__} was returned{of}, expected an array"
        return Finding("type", f"{said} {_shape(exact.shape)} of {kind}")
    result = np.asarray(result)
    if result.shape != exact.shape:
        said = f"shape {_shape(result.shape)} was returned{of}"
        return Finding("shape", f"{said}, expected {_shape(exact.shape)}")
    # a single number is a number, however wide
    if result.dtype != kind and result.ndim:
        return Finding("dtype", f"{result.dtype} was returned{of}, expected {kind}")
    missing = np.argwhere(is_poison(np.ascontiguousarray(result)))
    if len(missing):
        cell = label.cell(tuple(missing[0]), result.shape)
        more = f", nor {len(missing) - 1} other cells" if len(missing) > 1 else ""
        return Finding("never written", f"nobody wrote {cell}{more}")
    return None


def _difference(case, result, exact, off, allowed, label):
    wrong = off > FACTOR
    index = tuple(np.argwhere(wrong)[0])
    cell = label.cell(index, result.shape)
    text = f"{cell} is {_number(result[index])}, expected {_number(exact[index])}"
    if allowed is not None:
        text += f" +- {np.broadcast_to(allowed, result.shape)[index]:.1e}"
    if np.isfinite(off[index]) and off[index] > 0:
        text += f" (off by {off[index]:.4g} eps, {FACTOR:g} are allowed)"
    count = int(wrong.sum())
    hint = appearance(case, result, exact, wrong)
    number = f"{count} of {result.size} cells are wrong" if result.size > 1 else ""
    said = "; ".join(filter(None, (number, hint)))
    return f"{text}\n{said}" if said else text


def _number(value):
    value = value.item() if hasattr(value, "item") else value
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _shape(shape):
    return "(" + " ".join(map(str, shape)) + ")"


def _dtype(result):
    return np.asarray(result).dtype


def _copied(case):
    return {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in case.items()}


def _bits(array):
    return array.view(f"u{array.itemsize}")
