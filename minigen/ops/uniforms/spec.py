"""Specification of uniforms: exact."""

import numpy as np

from minigen.checking.spec import Spec, integers


def draw_uniforms(draw):
    """Draw key (2), images (b), positions (m), step and index: any counters."""
    b, m, seed = *draw.sizes("bm"), draw.seed()
    return {
        "key": integers(seed, 2**32, 2).astype(np.uint32),
        "images": integers(seed + 1, 2**32, b),
        "positions": integers(seed + 2, 2**20, m),
        "step": draw.among(0, 1, 255),
        "index": draw.among(0, 1),
    }


SPECS = (Spec("uniforms", draw_uniforms, batched=("images",)),)
