"""What is installed, what is missing, and the one command that mends it."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from itertools import takewhile
from pathlib import Path

from minigen import kernel_cache, writing
from minigen.catalogue import WEIGHTS
from minigen.errors import BackendError, InputError
from minigen.extras import REQUIRED, again, install, packages
from minigen.families import FAMILIES

PYTHON = (3, 10)
"""The oldest Python minigen runs on."""

CHECK = ("hypothesis", "greenlet")
"""What checks of kernels take."""

TEST = ("click", "pytest", "pytest-xdist", "safetensors", "hatchling", *CHECK)
"""What the tests take, but for pictures and the compiler."""

EXTRAS = {
    "check": (CHECK, "`minigen check`, and the interpreter"),
    "cuda13": (
        ("numba-cuda", "nvidia-nvjitlink", "nvidia-nvvm"),
        "CUDA kernels: compile, run without a GPU (backend ptx), or on one with driver "
        "580 or later",
    ),
    "cuda12": (
        ("numba-cuda", "nvidia-nvjitlink-cu12", "nvidia-cuda-nvcc-cu12"),
        "the same for drivers from 525 on",
    ),
    "cublas": (
        ("nvmath-python", "nvidia-cublas"),
        "NVIDIA's matrix products on a GPU, for large batches",
    ),
    "lessons": (("matplotlib",), "the pictures of the lessons"),
    "train": (("torch",), "training, and the PyTorch side of `minigen bench`"),
    "types": (("mypy", "pyright"), "type checkers, to test what they say of the face"),
    "browser": (("playwright",), "tests of pages, in a chromium that is installed"),
    "site": (
        (
            "markdown-it-py",
            "mdit-py-plugins",
            "pygments",
            "latex2mathml",
            *CHECK,
            "numba-cuda",
        ),
        "pages of the lessons",
    ),
    "cluster": (("dask", "distributed"), "`minigen sample --cluster`: Dask's workers"),
    "notebook": (("jupytext", "nbclient", "ipykernel"), "lessons as notebooks"),
    "test": (
        (*TEST, "matplotlib", "numba-cuda"),
        "the tests of minigen itself",
    ),
}
"""Each extra of the package: what it installs, and what that is for."""

SHIPPED = tuple(
    name
    for family in FAMILIES.values()
    for name in family.presets
    if name not in family.released
)
"""The models whose weights are part of the package."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. mend: the command that would put it right."""

    name: str
    found: str
    well: bool
    note: str = ""
    mend: str = ""


def examine() -> list[Finding]:
    """Look at everything minigen needs: Python, packages, kernels, cache, weights."""
    needed = [examine_package(name) for name in REQUIRED]
    findings = [examine_python(), *needed]
    if all(finding.well for finding in needed):
        findings += [examine_kernels(), examine_cache()]
    return [*findings, examine_weights()]


def examine_python() -> Finding:
    """Say whether this Python is new enough."""
    well = sys.version_info[:2] >= PYTHON
    note = "" if well else "minigen needs {}.{} or newer".format(*PYTHON)
    return Finding("python", platform.python_version(), well, note)


def examine_package(name: str) -> Finding:
    """Say whether a required package is there, new enough, and can be imported."""
    module, lowest = REQUIRED[name]
    mend = packages(name, options="--upgrade")
    version = _version(name)
    if version is None:
        return Finding(name, "-", False, "not installed", mend)
    if numbers(version) < numbers(lowest):
        return Finding(name, version, False, f"older than {lowest}", mend)
    try:
        importlib.import_module(module)
    except Exception as error:
        # a broken installation may raise anything; its first line says what
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Finding(
            name, version, False, f"cannot be imported: {reason}",
            packages(name, options="--force-reinstall"),
        )  # fmt: skip
    return Finding(name, version, True)


def examine_kernels() -> Finding:
    """Compile a kernel and run it on all threads."""
    import numpy as np

    try:
        from minigen.target import kernel, numba, prange
        from minigen.threads import all_of_them

        def add_one(x, y):
            for i in prange(len(x)):
                y[i] = x[i] + np.float32(1)

        x = np.arange(1000, dtype=np.float32)
        y = np.empty_like(x)
        start = time.perf_counter()
        with all_of_them():
            kernel(add_one)(x, y)
        seconds = time.perf_counter() - start
        well = bool((y == x + 1).all())
        layer, threads = numba.threading_layer(), numba.get_num_threads()
    except BackendError as error:
        # of the environment, which no package mends
        return Finding("kernels", "-", False, str(error))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Finding(
            "kernels", "-", False, f"cannot be compiled: {reason}",
            packages("numba", options="--force-reinstall"),
        )  # fmt: skip
    note = f"threading layer {layer}; a first one compiled in {seconds:.1f} s"
    return Finding("kernels", f"{threads} threads", well, note)


def examine_cache() -> Finding:
    """Say where compiled kernels are kept, and whether they can be."""
    location = kernel_cache.find_location()
    folder, size, files = cache()
    set_it = "set" if os.name == "nt" else "export"
    mend = f"{set_it} MINIGEN_CACHE=SOME_FOLDER"
    if location.folder is None:
        note = f"{location.reason}: kernels are compiled at every start"
        return Finding("cache", "-", False, note, mend)
    note = f"{folder}, {files} files"
    if location.reason:
        return Finding("cache", "-", False, f"{location.reason}; now {note}", mend)
    try:
        writing.check_folder(location.folder)
    except InputError as error:
        reason = str(error).partition(";")[0]
        note += f"; {reason}: others are compiled at every start"
        return Finding("cache", f"{size / 1e6:.1f} MB", False, note, mend)
    return Finding("cache", f"{size / 1e6:.1f} MB", True, note)


def examine_weights() -> Finding:
    """Say whether the weights that ship are there."""
    files = [*(f"{name}.safetensors" for name in SHIPPED), "judge-mnist.npz"]
    missing = [name for name in files if not (WEIGHTS / name).is_file()]
    if missing:
        return Finding(
            "weights", "-", False,
            f"missing: {', '.join(missing)}; install minigen again, as it was",
            again(),
        )  # fmt: skip
    return Finding("weights", f"{len(SHIPPED)} models", True, ", ".join(SHIPPED))


def extras() -> list[Finding]:
    """Say of each extra whether it is installed and what it would add; and of a GPU."""
    findings = []
    for name, (parts, use) in EXTRAS.items():
        missing = [package for package in parts if not _version(package)]
        versions = [f"{package} {_version(package)}" for package in parts[:2]]
        versions += ["..."] if len(parts) > 2 else []
        found = "-" if missing else ", ".join(versions)
        mend = install(name) if missing else ""
        findings.append(Finding(name, found, not missing, use, mend))
    return [*findings, examine_gpu()]


def examine_gpu() -> Finding:
    """Say which GPU the backend cuda would run on."""
    if not _version("numba-cuda"):
        return Finding(
            "gpu", "-", False, "one cannot be seen without numba-cuda",
            install("cuda13"),
        )  # fmt: skip
    from minigen import target

    if not target.has_gpu():
        return Finding("gpu", "-", False, "no NVIDIA GPU, or no driver for it")
    device = target.core.Device()
    major, minor = device.compute_capability
    return Finding("gpu", device.name, True, f"compute capability {major}.{minor}")


def mending(findings: list[Finding]) -> list[str]:
    """Return the commands that mend what is not well, packages in a single one."""
    broken = [finding for finding in findings if not finding.well and finding.mend]
    needed = [f for f in broken if f.name in REQUIRED]
    commands = [f.mend for f in broken if f not in needed]
    if len(needed) > 1:
        names = [finding.name for finding in needed]
        return [packages(*names, options="--force-reinstall"), *commands]
    return [*(finding.mend for finding in needed), *commands]


def cache() -> tuple[Path, int, int]:
    """Return the folder above all compiled kernels, their bytes, and their number."""
    location = kernel_cache.find_location()
    base = (location.folder or location.wanted).parent
    return base, *_count(base)


def _count(base):
    files = [p for f in kernel_cache.kept_in(base) for p in f.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files), len(files)


def clear_cache() -> tuple[Path, int, int]:
    """Delete all compiled kernels, older ones too; return what was deleted."""
    bases = [folder.parent for folder in kernel_cache.folders()]
    size, files = map(sum, zip(*map(_count, bases), strict=True))
    for base in bases:
        for folder in kernel_cache.kept_in(base):
            shutil.rmtree(folder)
    return bases[0], size, files


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version.

    >>> numbers("2.13.0+cpu"), numbers("0.61.0rc1")
    ((2, 13, 0), (0, 61))
    """
    parts = version.split("+")[0].split(".")
    return tuple(map(int, takewhile(str.isdecimal, parts)))


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
