"""The digit classifier that evaluates the small models.

Source: ours; `minigen.training.judge` is the same network in PyTorch. Images are
32 x 32, (b y x 3) in [-1, 1]. The Fréchet distance of two sets of images is computed
from its features.
"""

from __future__ import annotations

from minigen.models.pyramid import EPS, GROUPS


def forward(ops, weights, config, x):
    """Return features (b f) and class logits (b v) of images (b y x 3)."""
    x = ops.conv3x3(x, **weights["conv_in"])
    for w in weights["levels"]:
        x = ops.conv3x3(
            ops.group_norm_swish(x, **w["norm1"], r=GROUPS, eps=EPS), **w["conv"]
        )
        x = ops.group_norm_swish(x, **w["norm2"], r=GROUPS, eps=EPS)
        x = ops.conv3x3_half(x, **w["down"])
    x = ops.group_norm_swish(x, **weights["norm_out"], r=GROUPS, eps=EPS)
    # (b y x c) -> (b 1 f) -> (b 1 v)
    features = ops.linear(x.reshape(x.shape[0], 1, -1), **weights["features"])
    logits = ops.linear(features, **weights["head"])
    return features.reshape(x.shape[0], -1), logits.reshape(x.shape[0], -1)
