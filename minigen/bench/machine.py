"""What a measurement was made on: processor, features, caches, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import minigen
from minigen.threads import available, cores

PACKAGES = ("numpy", "numba", "llvmlite", "torch")

FEATURES = {
    "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "avx512f": "AVX-512",
    "avx512bf16": "AVX-512 bfloat16", "amx-bf16": "AMX bfloat16", "neon": "NEON",
    "bf16": "NEON bfloat16",
}  # fmt: skip
"""Instructions that decide how fast products are: LLVM's names, and those we print."""

BFLOAT16 = ("AVX-512 bfloat16", "AMX bfloat16", "NEON bfloat16")
"""Those that multiply bfloat16 numbers without widening them first."""

VECTORS = ("AVX-512", "AVX2", "NEON")
"""Kinds of vectors, widest first: results of machines are told apart by them."""

SETTINGS = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "OPENBLAS_CORETYPE")
"""Variables that make libraries take a processor for another one."""

UNKNOWN_CACHE = 32 << 20
"""Bytes of the last-level cache where the system does not say."""


def about() -> dict:
    """Return what to know of this machine and of what runs on it, ready for JSON."""
    found = features()
    return {
        "machine": f"{_model()} ({_kind()})",
        "vectors": vectors(found),
        "features": found,
        "cores": cores(),
        "threads": available(),
        "cache_bytes": cache_bytes(),
        "system": platform.platform(terse=True),
        "versions": {"python": platform.python_version(), **_versions()},
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def features() -> list[str]:
    """Return the names of those FEATURES that the processor has.

    Empty without llvmlite.
    """
    try:
        from llvmlite import binding
    except ImportError:
        return []
    found = binding.get_host_cpu_features()
    return [name for flag, name in FEATURES.items() if found.get(flag)]


def vectors(found: list[str]) -> str:
    """Return the widest of VECTORS among features, or "other"."""
    return next((name for name in VECTORS if name in found), "other")


def cache_bytes(root: str = "/sys/devices/system/cpu") -> int:
    """Return the bytes of the last-level caches of the cores this process may use.

    root: where Linux describes them. Elsewhere, UNKNOWN_CACHE.
    """
    usable = getattr(os, "sched_getaffinity", lambda _: range(cores()))(0)
    found = {}
    for core in usable:
        levels = Path(root, f"cpu{core}", "cache").glob("index*")
        try:
            last = max(levels, key=lambda path: int((path / "level").read_text()))
            size = (last / "size").read_text().strip()
            # cores that share a cache name each other
            found[(last / "shared_cpu_list").read_text()] = int(size[:-1]) << 10
        except (OSError, ValueError):
            return UNKNOWN_CACHE
    return sum(found.values())


def _model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        (name, *_) = (line for line in lines if line.startswith("model name"))
        return name.partition(":")[2].strip()
    except (OSError, ValueError):
        return platform.processor() or platform.machine()


def _kind():
    try:
        from llvmlite import binding
    except ImportError:
        return platform.machine()
    return binding.get_host_cpu_name()


def _versions():
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit():
    folder = Path(minigen.__file__).parents[1]
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
