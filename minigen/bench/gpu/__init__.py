"""A full-size model on a GPU: each kernel, each launch, and images a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from minigen import __version__, arrays, target
from minigen.bench import weights
from minigen.bench.compare import decoder_of
from minigen.bench.gpu import cases, parts, report, results, timing
from minigen.families import PRESETS
from minigen.kernel_cache import source_hash
from minigen.pipeline import assemble

PARTS = ("kernels", "launch", "images")
"""What is measured, in this order."""

GENERATOR, TOKENIZER = "arpg-l", "vq-16"
MAMBA = "aim-l"
MASKED, DIFFUSION, LATENTS = "arinar-b", "mar-b", "kl-16"
BATCHES = (1, 8, 64)
STEPS = 64

__all__ = ["BATCHES", "PARTS", "bench", "machine", "report"]


def bench(
    path: Path | None,
    chosen: tuple[str, ...] = PARTS,
    dtype: str = "float32",
    say: Callable[[str], None] = lambda text: None,
    generator: str = GENERATOR,
) -> dict:
    """Measure the parts that the file lacks, write each as it is done, return all.

    dtype: of weights; generator: the preset that draws images. Raises BackendError
    without a GPU, InputError if the file holds results of another machine, dtype,
    generator or version.
    """
    weights.pick(dtype)
    device, clock = _fresh()
    found = results.start(path, machine() | {"dtype": dtype, "generator": generator})

    def missing(name, measure):
        if name not in found["parts"]:
            start = time.perf_counter()
            measured = measure()
            measured["took_seconds"] = time.perf_counter() - start
            found["parts"][name] = measured
            results.save(path, found)

    if "kernels" in chosen:
        missing("kernels", lambda: _kernels(dtype, say))
    if "launch" in chosen:
        missing("launch", lambda: parts.measure_launch(device, clock, say))
    wanted = [n for n in BATCHES if f"images, batch {n}" not in found["parts"]]
    if "images" in chosen and wanted:
        say("drawing stand-in weights")
        models = (
            weights.model(PRESETS[name], dtype)
            for name in (generator, decoder_of(generator))
        )
        pipe = assemble(*models, "cuda")
        for n in wanted:
            missing(
                f"images, batch {n}",
                lambda n=n: parts.measure_images(pipe, clock, n, STEPS, 0, say),
            )
    return found


def machine() -> dict:
    """Return what GPU this is, and the versions that a result depends on."""
    gpu = target.core.Device()
    driver = target.cuda.cudadrv.driver.driver.get_version()
    return {
        "gpu": gpu.name,
        "multiprocessors": gpu.properties.multiprocessor_count,
        "compute_capability": ".".join(map(str, gpu.compute_capability)),
        "driver": ".".join(map(str, driver)),
        "numba_cuda": metadata.version("numba-cuda"),
        "minigen": __version__,
        "sources": source_hash(),
    }


def _fresh():
    device = arrays.Gpu()
    return device, timing.gpu_clock(device)


def _kernels(dtype, say):
    top = parts.ceilings(*_fresh(), say)
    generator, tokenizer = PRESETS[GENERATOR], PRESETS[TOKENIZER]
    chosen = [
        *cases.generator(generator, 1, 4, 128, dtype),
        *cases.generator(generator, 64, 8, 128, dtype),
        *cases.state_space(PRESETS[MAMBA], 1, 1, dtype),
        *cases.state_space(PRESETS[MAMBA], 64, 1, dtype),
        *cases.state_space(PRESETS[MAMBA], 1, 256, dtype),
        *cases.tokenizer(tokenizer, 16, 1, dtype),
        # a step in the middle of a run: 96 tokens and the class are read of 320
        *cases.masked(PRESETS[MASKED], 1, 4, 96, dtype),
        *cases.masked(PRESETS[MASKED], 8, 4, 96, dtype),
        *cases.mixture_head(PRESETS[MASKED], 4, dtype),
        *cases.mixture_head(PRESETS[MASKED], 256, dtype),
        *cases.diffusion_head(PRESETS[DIFFUSION], 256),
        *cases.latents(PRESETS[LATENTS], 16, 8),
    ]
    return parts.measure_kernels(_fresh, chosen, top, say)
