"""Gated RMSNorm: the output of Mamba-2's scan is gated and normalised.

The names give the order: `gate_rms_norm`, which AiM uses, gates first.

Source: Dao and Gu, arXiv 2405.21060, section 7.1; state-spaces/mamba
ops/triton/layernorm_gated.py::rms_norm_ref.
"""

from __future__ import annotations

import numpy as np

from minigen.ops.silu.reference import silu


def gate_rms_norm(x, z, w, r, eps):
    """(b n d), (b n d), (d) -> (b n d)
    where w is a weight, r divides d

    Return w v / sqrt(mean(v^2) + eps) with v = x silu(z), in `r` groups of channels.

    >>> x, z = np.array([[[3.0, 4.0]]]), np.full((1, 1, 2), 50.0)
    >>> gate_rms_norm(x, z, np.ones(2), 1, 0.0).round(3).tolist()
    [[[0.849, 1.131]]]
    """
    return _unit(x * silu(z), r, eps) * w.astype(x.dtype)


def rms_norm_gate(x, z, w, r, eps):
    """(b n d), (b n d), (d) -> (b n d)
    where w is a weight, r divides d

    Return w x / sqrt(mean(x^2) + eps) silu(z), in `r` groups of channels.

    >>> x, z = np.array([[[3.0, 4.0]]]), np.full((1, 1, 2), 50.0)
    >>> rms_norm_gate(x, z, np.ones(2), 2, 0.0).round(3).tolist()
    [[[50.0, 50.0]]]
    """
    return _unit(x, r, eps) * w.astype(x.dtype) * silu(z)


def _unit(v, r, eps):
    groups = v.reshape(*v.shape[:-1], r, v.shape[-1] // r)  # (b n r d/r)
    mean = np.mean(groups * groups, axis=-1, keepdims=True)
    return (groups / np.sqrt(mean + v.dtype.type(eps))).reshape(v.shape)
