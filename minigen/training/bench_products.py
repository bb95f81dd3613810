"""PyTorch as two sides of `minigen bench products`: eager, and packed for oneDNN."""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F

from minigen.bench.product_worker import Side, serve
from minigen.training import bench


def put(x, dtype: str) -> torch.Tensor:
    return torch.from_numpy(x).to(getattr(torch, dtype))


def get(y: torch.Tensor):
    return y.float().numpy()


def eager() -> Side:
    """Return PyTorch's linear, rows in the dtype of the weights."""
    return Side(lambda w, rows: bench.tensor(w), put, F.linear, get, narrow=True)


def onednn() -> Side:
    """Return oneDNN's product, each weight packed once."""
    reorder, multiply = bench.onednn()
    return Side(
        lambda w, rows: reorder(bench.tensor(w), rows), put,
        lambda x, w: multiply(x, w, None, "none", [], ""), get, narrow=True,
        lacks=bench.lacks_onednn,
    )  # fmt: skip


if __name__ == "__main__":
    with torch.inference_mode():
        serve({"eager": eager, "onednn": onednn}[sys.argv[1]]())
