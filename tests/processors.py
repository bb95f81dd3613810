"""Whether kernels for one processor and for another give the same bits.

    python -m tests.processors                      every op, every model that ships
    python -m tests.processors rms_norm arpg-mnist  some of them
    python -m tests.processors --on host old -- silu     on one of 2008, without FMA

The same cases and the same images are run in a process for each of PROCESSORS, whose
kernels Numba compiles for it; NumPy, OpenBLAS and the C library are told to take what
they would take there. A line tells how many results of an op differ, or which call is
the first of a model's run whose result does. Exit status 1 if any differs.

What is compiled for a processor can be run on one that knows more: all of it on x86
with AVX-512.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

PROCESSORS: dict[str, dict[str, str]] = {
    "host": {},
    "AVX2": {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""},
    "AVX-512": {
        "NUMBA_CPU_NAME": "skylake-avx512",
        "NUMBA_CPU_FEATURES": "-prefer-256-bit",
    },
    "old": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""},
}
"""The environment that lets Numba compile for each. The old one has no AVX, FMA, F16C:
there a fused step is a call, and everything takes long."""

LIBRARIES = {
    "AVX2": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "AVX512 X86_V4",
    },
    "old": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "AVX512 X86_V4 X86_V3",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA",
    },
}
"""What tells the libraries likewise. NumPy's features: how their names begin."""

THREE = ("host", "AVX2", "AVX-512")
"""Those that are compared if nothing else is said."""

CASES, SIZE = 12, 4
"""Cases of an op, and images of a model."""


FEATURES = {
    "host": (),
    "old": ("sse4.2",),
    "AVX2": ("avx2", "fma", "f16c", "bmi2"),
    "AVX-512": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""What this machine must know, by LLVM's words, to run what is compiled for each."""


def lacks(processor) -> str:
    """Return what this machine lacks to run what is compiled for a processor, or ""."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return " ".join(name for name in FEATURES[processor] if not features.get(name))


def environment(processor) -> dict[str, str]:
    """Return the environment of a process for a processor."""
    from numpy._core import _multiarray_umath as core

    added = PROCESSORS[processor] | LIBRARIES.get(processor, {})
    if "NPY_DISABLE_CPU_FEATURES" in added:
        starts = tuple(added["NPY_DISABLE_CPU_FEATURES"].split())
        known = [name for name in core.__cpu_dispatch__ if name.startswith(starts)]
        there = [name for name in known if core.__cpu_features__[name]]
        added["NPY_DISABLE_CPU_FEATURES"] = " ".join(there)
    kept = {n: v for n, v in os.environ.items() if not n.startswith("NUMBA_CPU")}
    return kept | added


def differing(names, processors=THREE) -> list[str]:
    """Return a line for every name that differs from what the first processor gives."""
    first, *others = processors
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cases")
        path.write_bytes(pickle.dumps({name: cases_of(name) for name in names}))
        expected = digests(path, first)
        for other in others:
            found = digests(path, other)
            for name in names:
                said = _apart(expected[name], found[name])
                lines += [f"{name}: {first} and {other}: {said}"] if said else []
    return lines


def _apart(one, other):
    apart = [a[0] for a, b in zip(one, other, strict=True) if a != b]
    if not apart:
        return ""
    return f"{len(apart)} of {len(one)} results differ, the first is {apart[0]}"


def digests(path, processor) -> dict[str, list]:
    """Run cases (`cases_of` each name) in a process for a processor.

    Return for each name a list of (what it is, digest): see `of_op`, `of_model`.
    """
    command = [sys.executable, "-m", "tests.processors", "--cases", str(path)]
    done = subprocess.run(
        command, env=environment(processor), check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def cases_of(name) -> list | None:
    """Return drawn cases of an op; None for a model."""
    from hypothesis import HealthCheck, Phase, given, settings

    from minigen.checking.specs import SPECS
    from minigen.checking.strategies import FULL, cases

    if name not in SPECS:
        return None
    drawn = []
    for route in ({}, *SPECS[name].routes):

        @settings(
            max_examples=2 if route else CASES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases(SPECS[name], FULL, route))
        def collect(case):
            drawn.append(copy.deepcopy(case))

        collect()
    return drawn


def of_op(name, drawn) -> list:
    """Return the digests of the results of cases of an op."""
    from minigen import backends

    function = getattr(backends.table("numba"), name)
    return [(f"case {n}", digest(function(**case))) for n, case in enumerate(drawn)]


def of_model(name) -> list:
    """Return the digests of every result of an op while a model draws images."""
    import minigen
    from minigen.models.codes import any_control

    pipe, found = minigen.load(name, backend="numba"), []

    def told(op, function):
        def call(*arguments, **options):
            result = function(*arguments, **options)
            if op == "empty":
                # its contents are undefined
                result.fill(0)
            found.append((f"{op}, call {len(found)}", digest(result)))
            return result

        return call

    table = {
        op: told(op, function) if callable(function) else function
        for op, function in vars(pipe.ops).items()
    }
    pipe = replace(pipe, ops=SimpleNamespace(**table))
    # few steps, where there is the choice
    steps = None if pipe.settle()["schedule"] == "one" else 4
    control = any_control(pipe.config, pipe.grid)
    *_, last = pipe.steps(list(range(SIZE)), steps=steps, control=control)
    pixels = pipe.decode(last.canvas)
    pipe.encode(pixels)
    return [*found, ("tokens", digest(last.canvas)), ("pixels", digest(pixels))]


def digest(result) -> str:
    """Return a hash of all bits of arrays; NaN is NaN, whatever its bits."""
    found = hashlib.sha256()
    for array in result if isinstance(result, tuple | list) else (result,):
        array = np.asarray(array)
        found.update(f"{array.dtype} {array.shape}".encode())
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def names() -> list[str]:
    """Return every function that has a specification, and every model that ships."""
    from minigen.catalogue import TOKENIZERS
    from minigen.checking.specs import SPECS

    return [*SPECS, *TOKENIZERS]


def main(arguments=None) -> int:
    """Compare processors; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="ops and models")
    parser.add_argument("--on", nargs="+", choices=PROCESSORS, default=THREE)
    parser.add_argument("--cases", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.cases:
        drawn = pickle.loads(given.cases.read_bytes())
        print(json.dumps({
            name: of_model(name) if some is None else of_op(name, some)
            for name, some in drawn.items()
        }))  # fmt: skip
        return 0
    known, chosen = names(), given.names or names()
    unknown = [name for name in chosen if name not in known]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(known)}")
    for each in given.on:
        if lacks(each):
            parser.error(f"this processor lacks {lacks(each)}, so not --on {each}")
    wrong = differing(chosen, given.on)
    for said in wrong:
        print(said)
    print(f"{len(chosen)} on {', '.join(given.on)}: {len(wrong)} differ")
    return int(wrong != [])


if __name__ == "__main__":
    sys.exit(main())
