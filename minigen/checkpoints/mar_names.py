"""The names of the weights of MAR and of its diffusion head: see `names`."""

from __future__ import annotations

from collections.abc import Mapping

from minigen.checkpoints.arinar_names import outer_rows, outer_sizes
from minigen.checkpoints.tokenizer_names import count, pair
from minigen.config import MarConfig
from minigen.models.diffusion_head import WAVES


def mar_rows(c: MarConfig):
    """Source: LTH14/mar models/mar.py::MAR."""
    yield from outer_rows(c)
    sizes = c.features, c.width, c.head_width, c.head_layers
    yield from diffusion_rows(*sizes, "head.", "diffloss.net.")


def diffusion_rows(features, condition, width, layers, ours="", upstream=""):
    """Yield the rows of the diffusion head, each name behind a prefix.

    Source: LTH14/mar models/diffloss.py::SimpleMLPAdaLN.
    """
    inside, modulation = (width, width), "adaLN_modulation.1"
    table = [
        ("time1", "time_embed.mlp.0", (width, WAVES)),
        ("time2", "time_embed.mlp.2", inside),
        ("condition", "cond_embed", (width, condition)),
        ("features", "input_proj", (width, features)),
    ]
    for i in range(layers):
        here, there = f"layers.{i}", f"res_blocks.{i}"
        table += [
            (f"{here}.norm", f"{there}.in_ln", (width,)),
            (f"{here}.fc1", f"{there}.mlp.0", inside),
            (f"{here}.fc2", f"{there}.mlp.2", inside),
            (f"{here}.modulation", f"{there}.{modulation}", (3 * width, width)),
        ]
    table += [
        ("out_modulation", f"final_layer.{modulation}", (2 * width, width)),
        ("out", "final_layer.linear", (2 * features, width)),
    ]
    for here, there, shape in table:
        yield from pair(f"{ours}{here}", f"{upstream}{there}", shape)


def guess_mar(shapes: Mapping) -> tuple[MarConfig, tuple[str, ...]]:
    """Return the configuration that shapes tell of, and the fields they do not show."""
    head_width, channels = shapes["diffloss.net.input_proj.weight"]
    config = MarConfig(
        **outer_sizes(shapes),
        channels=channels,
        head_width=head_width,
        head_layers=count(shapes, "diffloss.net.res_blocks.{}.in_ln.weight"),
    )
    return config, UNSEEN


UNSEEN = ("encoder_heads", "decoder_heads", "channels", "patch", "noise_steps")
"""Fields of the configuration that no shape shows."""
