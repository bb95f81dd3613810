"""Compile a kernel: errors, float64 arithmetic, registers, spills and shared memory.

Needs no GPU, but numba-cuda and NVIDIA's compiler libraries.
"""

from __future__ import annotations

import functools

from minigen import target
from minigen.checking import header
from minigen.checking.report import Finding
from minigen.errors import KernelError
from minigen.extras import install
from minigen.ptx.compiling import CAPABILITY, compile_kernel, source_line


def note() -> str:
    """Return the note of a report if the compiler is missing."""
    return (
        "what the compiler makes of CUDA kernels was not looked at: it was not run "
        "(backend ptx: types, addresses), and float64 arithmetic, registers and spills "
        f"were not counted; run `{install('cuda13')}` (no GPU is needed)"
    )


def look(kernel, types) -> tuple[target.Resources | None, list[Finding]]:
    """Return the resources of a compiled kernel, and the findings.

    types: of its arguments, as from `target.argument_types`. That registers are
    spilled is a finding unless the kernel's header gives the reason, in its fifth line.
    """
    try:
        text = compile_kernel(kernel, types)
    except KernelError as error:
        return None, [Finding("compile", error.message)]
    findings = []
    if ".f64" in text and not _meant(kernel):
        lines = target.float64_lines(kernel, types)
        findings.append(Finding("float64", _leak(text.count(".f64"), lines)))
    resources = _link(text)
    if (resources.spills or resources.stack) and not _reason(kernel):
        said = (
            f"{resources.spills} bytes of registers are spilled to memory, and "
            f"{resources.stack} bytes are its stack; use fewer variables, and no local "
            "array whose index is not known when it is compiled"
        )
        findings.append(Finding("spills", said))
    return resources, findings


@functools.lru_cache(maxsize=1024)
def _link(text):
    return target.link(text, CAPABILITY)


def _reason(kernel):
    # why it keeps registers in memory, if its docstring is a header that says so
    try:
        return header.parse(kernel).reason
    except KernelError:
        return ""


def _meant(kernel):
    # float64 that the kernel itself names is no accident
    code = getattr(kernel, "py_func", kernel).__code__
    return not {"float", "float64", "double"}.isdisjoint(code.co_names)


def _leak(count, lines):
    said = (
        f"float64 arithmetic: {count} places in the PTX, at 1/2 to 1/64 of the speed; "
        "write literals as np.float32(...)"
    )
    return "\n".join(
        [said, *(f"at {source_line(file, number)}" for file, number in lines)]
    )
