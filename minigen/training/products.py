"""How fast PyTorch multiplies matrices on a GPU: a ceiling for `minigen bench gpu`.

    python -m minigen.training.products 4096

prints operations a second by dtype as JSON; nothing ({}) where PyTorch sees no GPU.
"""

from __future__ import annotations

import sys
from statistics import median

import torch

from minigen.words import say_json


def products(side: int, repeats: int = 20) -> dict[str, float]:
    """Return operations a second of a product of two square matrices, by dtype."""
    if not torch.cuda.is_available():
        return {}
    # float32 means float32: no tensor cores that drop bits
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {}
    for name in ("float32", "bfloat16"):
        a, b = (
            torch.rand(side, side, device="cuda").sub(0.5).to(getattr(torch, name))
            for _ in range(2)
        )
        for _ in range(3):
            a @ b
        seconds = []
        for _ in range(repeats):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            a @ b
            end.record()
            end.synchronize()
            seconds.append(start.elapsed_time(end) / 1000)
        found[name] = 2 * side**3 / median(seconds)
    return found


if __name__ == "__main__":
    say_json(products(int(sys.argv[1])), indent=None)
