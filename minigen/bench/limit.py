"""A lower limit of the time to draw an image on this machine.

Every step must read its weights once, and the KV cache or state, and multiply. So it
takes at least bytes / bandwidth and at least operations / peak. Activations and
instructions are counted as free. Bytes and operations follow from the record of a
family (`minigen.families`).
"""

from __future__ import annotations

from minigen.families import GeneratorConfig, TokenizerConfig, family_of
from minigen.families.work import Work


def generator(config: GeneratorConfig, counts, size: int, batch: int = 1) -> list[Work]:
    """Return the work of each decoding step, with both halves of guidance.

    counts: tokens decoded at each step, one each for LlamaGen and AiM; size: bytes of a
    stored weight.
    """
    return family_of(config).work(config, counts, size, batch)


def decoder(
    config: TokenizerConfig, grid: tuple[int, int], size: int, batch: int = 1
) -> Work:
    """Return the work of turning a grid of codes or latents into an image."""
    return family_of(config).work(config, grid, size, batch)
