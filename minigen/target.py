"""The only file that decides how kernels are compiled and where they are kept.

Numba caches a compiled kernel beside the source file it stands in, and does not notice
that a helper in another file has changed. So our kernels are cached in a folder named
after a hash of all our sources: an edit anywhere starts a fresh folder, and a stale
kernel cannot be loaded.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def source_hash() -> str:
    """Return a hash over every source file of the package (twelve hex digits)."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted([*root.glob("*.py"), *root.glob("ops/**/*.py")]):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def cache_folder() -> Path:
    """Return the folder of compiled kernels of exactly these sources.

    MINIGEN_CACHE overrides the user's cache folder.
    """
    base = os.environ.get("MINIGEN_CACHE")
    if base is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        base = Path(home) / "minigen"
    return Path(base) / f"kernels-{source_hash()}"


if "NUMBA_CACHE_DIR" not in os.environ:
    if "numba" in sys.modules:
        import numba.core.config

        numba.core.config.CACHE_DIR = str(cache_folder())
    else:
        os.environ["NUMBA_CACHE_DIR"] = str(cache_folder())

# threads that wait for work sleep instead of spinning: where another process holds a
# core, spinning made a small decode a hundred times slower
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numba  # noqa: E402
from numba import prange  # noqa: E402

__all__ = [
    "cache_folder",
    "exact",
    "inline",
    "kernel",
    "prange",
    "serial",
    "source_hash",
]

# sums may be reordered and fused, which lets them run in vector registers; nan and
# infinity keep their meaning, since masks and filters are made of them
_FAST = {"contract", "reassoc", "nsz", "arcp"}

kernel = numba.njit(cache=True, parallel=True, error_model="numpy", fastmath=_FAST)
"""Compile a CPU kernel whose `prange` loops run on all threads."""

serial = numba.njit(cache=True, error_model="numpy", fastmath=_FAST)
"""Compile a CPU kernel that runs on one thread."""

inline = numba.njit(error_model="numpy", fastmath=_FAST, inline="always")
"""Compile a helper into the kernels that call it."""

exact = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
"""Compile a function whose sums and differences keep the order they are written in."""
