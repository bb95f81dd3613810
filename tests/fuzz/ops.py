"""Wrong calls of every op, on every backend: refused, or answered as by the reference.

    python -m tests.fuzz ops --count 20000 --seed 0

Arrays lie beside memory that may not be touched, and all of it runs in a process of its
own: one that dies is counted, with the call it died of, and the next goes on.
"""

from __future__ import annotations

import argparse
import collections
import copy
import itertools
import json
import subprocess
import sys
import tempfile
import traceback
import warnings
from unittest import mock

import ml_dtypes
import numpy as np

BACKENDS = ("numpy", "numba", "interpreter")

ENDS = ("refused", "right", "wrong", "differs", "crash", "foreign")
"""How a call may end: by an error of ours; with the reference's result; with another
one; otherwise than on another backend; with its process; with an error that is none of
ours. The first two are right."""


def main(arguments) -> int:
    """Make wrong calls, print what became of them, and return an exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz ops")
    parser.add_argument("--count", type=int, default=20000, help="calls in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the first case")
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)
    o = parser.parse_args(arguments)
    names = tuple(o.backend or BACKENDS)
    if o.worker:
        work(o.seed, o.first, o.count, names, o.worker)
        return 0
    ends, findings = fuzz(o.seed, o.first, o.count, names, say=print)
    print(f"{sum(ends.values())} calls on {', '.join(names)}, seed {o.seed}:")
    print(", ".join(f"{ends[end]} {end}" for end in ENDS))
    return int(bool(findings))


def fuzz(
    seed, first, count, names, say=lambda finding: None
) -> tuple[collections.Counter, list[str]]:
    """Return how often calls ended how, and a text for each that ended wrongly.

    From case `first` on as many as make `count` calls. say: is told each text as soon
    as it is there.
    """
    ends, findings = collections.Counter(), []

    def found(finding):
        findings.append(finding)
        say(finding + "\n")

    while (rest := count - sum(ends.values())) > 0:
        with tempfile.NamedTemporaryFile("r") as place:
            run = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.ops", f"--seed={seed}",
                 f"--first={first}", f"--count={rest}",
                 *(f"--backend={name}" for name in names), f"--worker={place.name}"],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            for line in run.stdout:
                said = json.loads(line)
                ends.update(said["ends"])
                for finding in said["findings"]:
                    found(finding)
                first = said["index"] + 1
            if run.wait():
                index, backend = (place.read().split() or [first, "no backend"])[:2]
                ends["crash"] += 1
                again = f"--seed {seed} --first {index} --count 1 --backend {backend}"
                found(
                    f"crash: the process ended with {run.returncode}; run\n"
                    f"python -m tests.fuzz ops {again}\n{told(seed, int(index))}"
                )
                first = int(index) + 1
    return ends, findings


def told(seed, index) -> str:
    """Return a case in words."""
    signature, case, said = made(seed, index)
    arrays = ", ".join(f"{name} {_content(value)}" for name, value in case.items())
    return f"{signature.name}({arrays}): {said}"


def made(seed, index):
    """Return the signature of a function, a case for it, and what is wrong with it."""
    from minigen import backends
    from tests.fuzz.wrong import wrong

    signatures = [signature for _, signature, _, _ in backends._functions("reference")]
    signature = signatures[index % len(signatures)]
    case, said = wrong(np.random.default_rng([seed, index]), signature)
    return signature, case, said


def work(seed, first, count, names, place) -> None:
    """Make calls from case `first` on, and print a line of JSON for each case."""
    from minigen import backends
    from minigen.cpu import buffers
    from tests.fuzz.pages import guarded
    from tests.fuzz.wrong import is_large
    from tests.hosting import hosted

    plain = buffers.empty

    def empty(shape, dtype=np.float32):
        return guarded(_poisoned(plain(shape, dtype)))

    tables = {name: backends.table(name) for name in names}
    if "interpreter" in tables:
        tables["interpreter"] = hosted(tables["interpreter"])
    with open(place, "w") as file, mock.patch.object(buffers, "empty", empty):
        for index in itertools.count(first):
            if count <= 0:
                break
            signature, case, said = made(seed, index)
            results = {}
            for name, table in tables.items():
                if name == "interpreter" and is_large(case):
                    continue
                file.seek(0)
                file.write(f"{index} {name}\n")
                file.flush()
                function = getattr(table, signature.name)
                results[name] = called(function, case, [seed, index])
            count -= len(results)
            ends = judged(signature, case, results)
            wrong = [f"{k}: {v[0]} {v[1]}" for k, v in ends.items() if v[1]]
            here = told(seed, index) if wrong else ""
            line = {
                "index": index,
                "ends": [end for end, _ in ends.values()],
                "findings": [f"case {index}: {here}\n" + "\n".join(wrong)]
                * bool(wrong),
            }
            print(json.dumps(line), flush=True)


def called(function, case, seed=0):
    """Return ("right", results), or how else a call ended and with which error."""
    rng = np.random.default_rng(seed)
    from minigen.errors import InputError, NotFiniteError, ShapeError
    from tests.fuzz.wrong import arranged

    placed, _ = arranged(rng, case)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            result = function(**placed)
    except (ShapeError, InputError, NotFiniteError) as error:
        return "refused", f"{type(error).__name__}: {error}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())[:200]
        return (
            "foreign",
            f"{type(error).__name__}: {said} ({where.filename}:{where.lineno})",
        )
    several = result if isinstance(result, tuple) else (result,)
    return "right", tuple(np.array(one) for one in several)


def judged(signature, case, results) -> dict:
    """Return for each backend how its call ended, and what is wrong with that or ""."""
    ends = {}
    for name, (end, result) in results.items():
        if end == "right":
            wrong = misses(signature, case, result)
            ends[name] = ("wrong", wrong) if wrong else ("right", "")
        else:
            ends[name] = (end, result if end == "foreign" else "")
    answers = {
        name: end if end != "refused" else result.split(":")[0]
        for name, (end, result) in results.items()
        if name in _alike(signature, case, results)
    }
    if len({*answers.values()} - {"foreign"}) > 1:
        for name in answers:
            ends[name] = "differs", f"{results[name][0]} {results[name][1]!s:.200}"
    return ends


def _alike(signature, case, results):
    # the backends that know the dtypes of the same arrays
    from minigen.backends import BACKENDS
    from minigen.calls import DTYPES

    def known(file):
        return [
            getattr(case[a.name], "dtype", np.dtype("V")).name in DTYPES[file][a.kind]
            for a in signature.arguments
            if a.sizes is not None
        ]

    files = {name: BACKENDS[name].replace("cuda", "hosted") for name in results}
    most = known(next(iter(files.values())))
    return [name for name, file in files.items() if known(file) == most]


def misses(signature, case, result) -> str:
    """Return what a result lacks of the reference's, or ""."""
    from minigen.checking.specs import SPECS
    from minigen.checking.verdict import judge

    spec = SPECS[signature.name]
    plain = {a.name: _plain(case[a.name], a.kind) for a in signature.arguments}
    one = result if len(result) > 1 else result[0]
    empty = any(isinstance(v, np.ndarray) and not v.size for v in plain.values())
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not empty:
            finding, _ = judge(spec, plain, one)
            return finding.message if finding else ""
        from minigen.checking.spec import reference

        expected = reference(spec)(**copy.deepcopy(plain))
    expected = expected if isinstance(expected, tuple) else (expected,)
    for mine, its in zip(result, expected, strict=True):
        if mine.shape != np.shape(its) or not np.array_equal(mine, its, equal_nan=True):
            return f"{mine.shape} {mine.ravel()[:4]}, expected {np.shape(its)}"
    return ""


def _plain(value, kind):
    if not isinstance(value, np.ndarray):
        return value
    value = np.array(value, order="C")
    # a device takes two bytes without a sign for the bits of a bfloat16
    bits = kind == "weight" and value.dtype == np.uint16
    return value.view(ml_dtypes.bfloat16) if bits else value


def _poisoned(array):
    from minigen.simt.pattern import poison

    return poison(array)


def _content(value):
    if isinstance(value, np.ndarray):
        few = f" {value.ravel().tolist()}" if value.size <= 4 else ""
        return f"{value.shape} {value.dtype.str}{few}"
    return repr(value)[:60]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
