"""Check the exercises of a lesson: python lessons/check.py 20

Write your answers into lessons/exercises/NN_name.py. For each exercise this says
whether it is solved; where not, it shows the smallest arguments with which it fails.
"""

from __future__ import annotations

import argparse
import linecache
import signal
import sys
import threading
from _thread import interrupt_main
from functools import wraps
from pathlib import Path
from types import ModuleType

import numpy as np

from minigen.extras import install
from minigen.words import say

HERE = Path(__file__).resolve().parent
SECONDS = 10
"""How long one call of a student's function may take."""


class NotStarted(Exception):
    """The function returned None."""


class Endless(BaseException):
    """The function did not end; no Exception, so that hypothesis does not try again."""


def load(path: Path):
    """Return the module of a file whose name is no Python name, such as 20_x.py.

    Its source is compiled every time: what Python keeps compiled, it tells from a later
    version by size and second alone, and an answer is soon changed.
    """
    module = ModuleType(f"lesson_{path.stem}")
    module.__file__ = str(path)
    linecache.checkcache(module.__file__)
    exec(compile(path.read_bytes(), module.__file__, "exec"), vars(module))
    return module


def exercises(name: str) -> list:
    """Return the exercises of a lesson, such as "20_first_kernel"."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    return load(HERE / "checks" / f"{name}.py").EXERCISES


def verdict(exercise, path: Path):
    """Return what is wrong with the answer in a file, or None: a `Finding`.

    Its kind is "not started" where the function returned None.
    """
    from hypothesis import strategies as st

    from minigen.checking.functions import raised
    from minigen.checking.report import Finding
    from minigen.checking.search import smallest

    try:
        function = getattr(load(path), exercise.name, None)
    except Exception as error:
        return Finding("cannot be imported", raised(error, str(path)))
    if function is None:
        return Finding("missing", f"no function is called {exercise.name}")
    latest = {}

    def attempt(case):
        latest.update(text=called(case))
        try:
            said = judged(exercise, guarded(function), case)
            return said and Finding("wrong", said, latest["text"])
        except NotStarted:
            return Finding("not started", "it returns None")
        except Exception as error:
            return Finding("exception", raised(error, str(path)), latest["text"])

    cases = exercise.arguments
    cases = cases if hasattr(cases, "example") else st.fixed_dictionaries(cases)
    try:
        return smallest(cases, attempt, exercise.examples, seed=0)
    except Endless as error:
        said = f"it was stopped after {SECONDS} seconds\n{raised(error, str(path))}"
        return Finding("does not end", said, latest["text"])


def judged(exercise, function, case) -> str | None:
    """Return what is wrong with the results of one case, in words, or None."""
    if exercise.law:
        return exercise.law(function, **copied(case))
    result = function(**copied(case))
    right, allowed = exercise.expected(**copied(case)), exercise.tolerance
    allowed = allowed(**copied(case)) if callable(allowed) else allowed
    said = difference(result, right, allowed)
    return said and f"{said}\nyours: {shown(result)}\nexpected: {shown(right)}"


def difference(result, right, allowed=0) -> str | None:
    """Return how a result differs from the right one, in words, or None.

    >>> difference([1.0, 2.5], np.array([1.0, 2.0]), 0.1)
    'at [1] it is off by 0.5, and 0.1 is allowed'
    >>> difference((1, 2), (1, 2)), difference(np.ones(2), np.ones((2, 1)))
    (None, 'the shape is (2,), not (2, 1)')
    """
    if isinstance(right, tuple):
        if not isinstance(result, (tuple, list)) or len(result) != len(right):
            return f"{len(right)} results were expected"
        pairs = [difference(a, b, allowed) for a, b in zip(result, right, strict=True)]
        return next((f"result {i}: {s}" for i, s in enumerate(pairs) if s), None)
    try:
        result, right = np.asarray(result), np.asarray(right)
    except ValueError as error:
        return f"the result is no array: {error}"
    if result.shape != right.shape:
        return f"the shape is {result.shape}, not {right.shape}"
    off = np.zeros(right.shape)
    same = np.asarray(result == right)
    if not {result.dtype.kind, right.dtype.kind} & set("OSU"):
        a, b = (np.asarray(x, np.complex128) for x in (result, right))
        with np.errstate(invalid="ignore"):
            off = abs(a - b)
            same = same | (np.isnan(a) & np.isnan(b)) | (off <= allowed)
    if same.all():
        return None
    place = tuple(int(i) for i in np.argwhere(~same)[0])
    at = f"at {list(place)} " if place else ""
    if not np.any(allowed):
        return f"{at}it differs"
    allowed = np.broadcast_to(allowed, right.shape)[place]
    return f"{at}it is off by {off[place]:.3g}, and {allowed:.3g} is allowed"


def guarded(function):
    """Return a function that raises NotStarted instead of None, Endless if it hangs."""

    @wraps(function)
    def call(*arguments, **named):
        clock = threading.Timer(SECONDS, interrupt_main)
        clock.daemon = True
        # a job in the background ignores interrupts, and would never be stopped
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        clock.start()
        try:
            result = function(*arguments, **named)
        except KeyboardInterrupt as error:
            clock.join(0.1)
            if clock.finished.is_set():
                raise Endless().with_traceback(error.__traceback__) from None
            raise  # somebody pressed control-C
        finally:
            clock.cancel()
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)
        if result is None:
            raise NotStarted
        return result

    return call


def copied(case) -> dict:
    """Return a case with arrays of its own: an answer may write into its arguments."""
    return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in case.items()}


def called(case) -> str:
    """Return the arguments of a call in words, one a line."""
    return "\n".join(f"{name} = {shown(value)}" for name, value in case.items())


def shown(value) -> str:
    """Return a value as a student reads it; long arrays lose their middle.

    >>> print(shown(np.ones(2, np.float32)))
    float32 (2,) [1. 1.]
    """
    if isinstance(value, (tuple, list)) and any(np.ndim(part) for part in value):
        return "".join(f"\n{i}: {shown(part)}" for i, part in enumerate(value))
    if not isinstance(value, np.ndarray):
        return repr(value.item() if isinstance(value, np.generic) else value)
    with np.printoptions(precision=7, threshold=64, edgeitems=4, linewidth=72):
        text = str(value)
    gap = "\n" if "\n" in text else " "
    return f"{value.dtype} {value.shape}{gap}{text}"


def tell(exercise, finding) -> None:
    """Print what became of one exercise."""
    if finding is None:
        say(f"  {exercise.name}: solved, tried with up to {exercise.examples} cases")
        return
    lines = [f"  {exercise.name}: {finding.kind}"]
    if finding.kind != "not started":
        lines += [f"      {line}" for line in finding.message.split("\n")]
    if finding.case:
        lines.append("    the smallest case that fails:")
        lines += [f"      {line}" for line in finding.case.split("\n")]
    say(*lines)


def main(arguments=None) -> int:
    """Check the lessons that are named; return 0 only if all exercises are solved."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("lesson", nargs="+", help="a number, a name, or all")
    what = "check the solutions instead of your answers"
    parser.add_argument("--solution", action="store_true", help=what)
    options = parser.parse_args(arguments)
    known = sorted(path.stem for path in HERE.glob("checks/[0-9]*.py"))
    chosen = []
    for wanted in options.lesson:
        found = [n for n in known if wanted in (n, n[:2], "all")]
        if not found:
            parser.error(f"no lesson {wanted} has exercises; {', '.join(known)} have")
        chosen += found
    folder, solved = "solutions" if options.solution else "exercises", True
    for name in dict.fromkeys(chosen):
        say(f"lessons/{folder}/{name}.py")
        try:
            found = exercises(name)
        except ModuleNotFoundError as error:
            if error.name != "hypothesis":
                raise
            say(f"checks take hypothesis, which is not installed; {install('check')}")
            return 2
        for exercise in found:
            finding = verdict(exercise, HERE / folder / f"{name}.py")
            tell(exercise, finding)
            solved &= finding is None
    return 0 if solved else 1


if __name__ == "__main__":
    sys.exit(main())
