"""Is a result right, and if not: where first, by how much, and like what it looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigen.checking.patterns import appearance
from minigen.checking.report import Finding
from minigen.checking.specs import Spec, errors, expected
from minigen.checking.specs.spec import reference
from minigen.checking.tolerance import EPS, FACTOR, TINY
from minigen.simt.pattern import is_poison


@dataclass(frozen=True)
class Label:
    """What messages call a result: a kernel may know it by another name and shape."""

    name: str = "result"
    shape: tuple[int, ...] | None = None

    def cell(self, index, shape) -> str:
        """Return the name of one cell of a result of `shape`."""
        if self.shape is not None and np.prod(self.shape) == np.prod(shape):
            index = np.unravel_index(np.ravel_multi_index(index, shape), self.shape)
        inside = ", ".join(str(int(i)) for i in index)
        return f"{self.name}[{inside}]" if len(index) else self.name


def judge(spec: Spec, case, result, label=Label()) -> tuple[Finding | None, float]:
    """Return what is wrong with a result, or None; and its largest error in eps."""
    exact = expected(spec, case)
    kind = np.asarray(reference(spec)(**_copied(case))).dtype
    if not isinstance(result, (np.ndarray, np.generic)):
        said = f"{type(result).__name__} was returned, expected an array"
        return Finding("type", f"{said} {_shape(exact.shape)} of {kind}"), np.inf
    result = np.asarray(result)
    if result.shape != exact.shape:
        said = f"shape {_shape(result.shape)} was returned"
        return Finding("shape", f"{said}, expected {_shape(exact.shape)}"), np.inf
    # a single number is a number, however wide
    if result.dtype != kind and result.ndim:
        return Finding("dtype", f"{result.dtype} was returned, expected {kind}"), np.inf
    missing = np.argwhere(is_poison(np.ascontiguousarray(result)))
    if len(missing):
        cell = label.cell(tuple(missing[0]), result.shape)
        more = f", nor {len(missing) - 1} other cells" if len(missing) > 1 else ""
        return Finding("never written", f"nobody wrote {cell}{more}"), np.inf
    off = errors(spec, case, result)
    worst = float(np.max(off, initial=0.0))
    if worst <= FACTOR:
        return None, worst
    return Finding("wrong value", _difference(spec, case, result, off, label)), worst


def same_bits(one, other) -> tuple | None:
    """Return where two results first differ in their bits, or None."""
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


def _difference(spec, case, result, off, label):
    exact = expected(spec, case)
    wrong = off > FACTOR
    index = tuple(np.argwhere(wrong)[0])
    cell = label.cell(index, result.shape)
    text = f"{cell} is {_number(result[index])}, expected {_number(exact[index])}"
    if spec.magnitude is not None:
        allowed = FACTOR * (EPS * spec.magnitude(**case) + TINY)
        allowed = np.broadcast_to(allowed, result.shape)[index]
        text += f" +- {allowed:.1e}"
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


def _copied(case):
    return {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in case.items()}


def _bits(array):
    return array.view(f"u{array.itemsize}")
