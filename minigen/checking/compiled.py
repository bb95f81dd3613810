"""Compile a kernel: errors, float64 arithmetic, registers, spills and shared memory.

Needs no GPU, but numba-cuda and NVIDIA's compiler libraries.
"""

from __future__ import annotations

import linecache
import os
import re

from minigen import target
from minigen.checking.report import Finding
from minigen.extras import install

CAPABILITY = (8, 0)
"""The compute capability kernels are compiled for here: the oldest with bfloat16."""


def note() -> str:
    """Return the note of a report if the compiler is missing."""
    return (
        "float64 arithmetic, registers and spills were not looked at: that takes the "
        f"CUDA compiler; run `{install('cuda13')}` (no GPU is needed)"
    )


def look(kernel, types) -> tuple[target.Resources | None, list[Finding]]:
    """Return the resources of a compiled kernel, and the findings.

    types: of its arguments, as from `target.argument_types`.
    """
    try:
        ptx = target.compile_ptx(kernel, types, CAPABILITY)
    except Exception as error:
        return None, [Finding("compile", _condensed(error))]
    findings = []
    if ".f64" in ptx:
        lines = target.float64_lines(kernel, types)
        findings.append(Finding("float64", _leak(ptx.count(".f64"), lines)))
    resources = target.link(ptx, CAPABILITY)
    if resources.spills or resources.stack:
        said = (
            f"{resources.spills} bytes of registers are spilled to memory, and "
            f"{resources.stack} bytes are its stack; use fewer variables, and no local "
            "array whose index is not known when it is compiled"
        )
        findings.append(Finding("spills", said))
    return resources, findings


def _leak(count, lines):
    said = (
        f"float64 arithmetic: {count} places in the PTX, at 1/2 to 1/64 of the speed; "
        "write literals as np.float32(...)"
    )
    return "\n".join([said, *(f"at {_line(file, number)}" for file, number in lines)])


def _line(file, number):
    text = linecache.getline(file, number).strip()
    return f"{os.path.basename(file)}:{number}: {text}"


def _condensed(error):
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Failed in", "During:"))]
    sites = re.findall(r'(?:File |file )"?([^"\s]+?)"?, line (\d+)', text)
    said = f"it does not compile: {' '.join(lines[:2])}"[:300]
    if not sites:
        return said
    file, number = sites[-1]
    return f"{said}\nat {_line(file, int(number))}"
