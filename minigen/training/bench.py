"""The PyTorch twins as the other sides of `minigen bench cpu`."""

from __future__ import annotations

import functools
import json
import sys
from importlib import import_module
from pkgutil import resolve_name

import ml_dtypes
import numpy as np
import torch
import torch.nn.functional as F

from minigen import plans
from minigen.bench import weights
from minigen.bench.worker import Job, answer, latents, samples, serve, timed
from minigen.families import PRESETS, family_of
from minigen.training import mae, masked, raster
from minigen.training.layers import rotary_table


def stand_in(model: torch.nn.Module, dtype: str) -> torch.nn.Module:
    """Give a model on the meta device its stand-in weights, without copying them."""
    state = {name: tensor(array) for name, array in weights.state(model.config, dtype)}
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    # the one buffer that is no weight: the codes that training used last
    assert not unexpected and set(missing) <= {"quantize.codebook_used"}, missing
    if hasattr(model, "table"):
        # which is made without memory, too
        model.table = rotary_table(model.config)
    return model.eval()


def tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def drawer(job: Job, model: torch.nn.Module):
    """Return draw(count): tokens (b n) drawn in `count` steps, 0 where none was drawn.

    Tokens of a masked model are (b n f).
    """
    config, family = model.config, family_of(model.config)
    labels = torch.arange(job.batch) % config.classes
    if family.settings["schedule"] == "one":

        def draw_first(count):
            tokens = raster.generate(model, labels, count, guidance=job.guidance)
            return F.pad(tokens, (0, config.tokens - count))

        return draw_first
    grid = config.side, config.side
    if family.tokenizer == "vq":
        order = torch.tensor(plans.plan(grid, "random", "one").order)
        twin = import_module(type(model).__module__)

        def draw_all(steps):
            counts = list(plans.counts(job.schedule, config.tokens, steps))
            return twin.generate(model, labels, order, counts, guidance=job.guidance)

        return draw_all
    if job.every > 1:
        return sampled(job, model, labels)

    def draw_masked(steps):
        plan = plans.plan(grid, "random", job.schedule, steps)
        groups = [torch.tensor(g).expand(job.batch, -1) for g in plan.groups]
        return masked.generate(model, labels, groups, guidance=job.guidance)

    return draw_masked


def some_steps(job: Job, config) -> tuple[list, int]:
    """Return the sampled steps of a masked model's run, and the number of all steps."""
    plan = plans.plan((config.side, config.side), "random", job.schedule, job.steps)
    return samples(plan, job.every), len(plan.groups)


def sampled(job: Job, model: torch.nn.Module, labels: torch.Tensor):
    """Return draw(count), which runs `count` of a masked model's sampled steps.

    The tokens known before a step are stand-ins; the tokens that it draws are dropped.
    """
    config, b = model.config, job.batch
    parts, _ = some_steps(job, config)
    given = torch.from_numpy(latents(config, b)).flatten(1, 2)
    doubled = torch.cat([labels, torch.full_like(labels, -1)])
    both = torch.cat([given, given])

    def draw(count):
        for part in parts[:count]:
            known, asked = (
                torch.tensor(sorted(where), dtype=torch.int64).expand(2 * b, -1)
                for where in (part.known, part.groups[0])
            )
            z = mae.conditions(model, both, doubled, known, asked)
            model.draw(z.flatten(0, 1), job.guidance, 1.0)
        return given

    return draw


def onednn() -> tuple:
    """Return oneDNN's functions: reorder(w, rows) packs a weight, and
    multiply(x, packed, bias, "none", [], "") is the product."""
    names = "_reorder_linear_weight", "_linear_pointwise"
    return tuple(getattr(torch.ops.mkldnn, name) for name in names)


@functools.cache
def lacks_onednn(dtype: str) -> str:
    """Return why oneDNN does not multiply by weights of a dtype here, "" if it does.

    Of two bytes it takes none where the processor has no AVX-512 for them.
    """
    reorder, multiply = onednn()
    w = torch.ones(32, 32, dtype=getattr(torch, dtype))
    try:
        multiply(w, reorder(w, 32), None, "none", [], "")
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def pack_linear(models: list[torch.nn.Module]) -> None:
    """Let linear layers multiply by weights that are packed for oneDNN, each once.

    A weight is packed when it is first used, and let go unless rows are read from it.
    """
    reorder, multiply = onednn()
    modules = [part for model in models for part in model.modules()]
    tables = {id(m.weight) for m in modules if isinstance(m, torch.nn.Embedding)}
    packed = {}

    def linear(x, w, bias=None):
        if id(w) not in packed:
            packed[id(w)] = reorder(w.detach(), x.shape[:-1].numel())
            if id(w) not in tables:
                w.data = w.data.new_empty(0)
        return multiply(x, packed[id(w)], bias, "none", [], "")

    # which nn.Linear calls, too
    F.linear = linear


def compile_layers(models: list[torch.nn.Module]) -> None:
    """Let torch.compile compile every layer of a list, when it is first run.

    Not whole steps: these are a little faster, and take minutes to compile, again and
    again as shapes change.
    """
    for model in models:
        for part in model.modules():
            if isinstance(part, torch.nn.ModuleList):
                for layer in part:
                    # caches grow, and steps draw different numbers of tokens
                    layer.compile(dynamic=True)


PREPARE = {"eager": lambda models: None, "onednn": pack_linear,
           "compile": compile_layers}  # fmt: skip
"""What is done to the twins before they run, by the side's name."""


@torch.inference_mode()
def main(job: Job, side: str) -> None:
    """Answer the requests of `minigen bench cpu` with the PyTorch twins.

    side: of `minigen.bench.compare.AGAINST`.
    """
    torch.set_num_threads(job.threads)
    if side == "onednn" and (reason := lacks_onednn(job.dtype)):
        answer({"error": (
            f"oneDNN has no product of {job.dtype} for this CPU ({reason}); compare "
            "with others: --against eager"
        )})  # fmt: skip
        return
    config, decoding = PRESETS[job.generator], PRESETS[job.tokenizer]
    with torch.device("meta"):
        twins = [resolve_name(family_of(c).twin)(c) for c in (config, decoding)]
    generator, tokenizer = twins = [stand_in(model, job.dtype) for model in twins]
    PREPARE[side](twins)
    draw_tokens, grid = drawer(job, generator), (config.side, config.side)
    steps, share = job.tokens or job.steps, 1.0
    if job.every is not None and job.every > 1:
        parts, all_of_them = some_steps(job, config)
        steps, share = len(parts), 1 / all_of_them

    def pixels(tokens):
        if family_of(config).tokenizer == "vq":
            images = (tokenizer.decode_code(t[None], grid) for t in tokens)
            return [to_pixels(image) for image in images]
        z = mae.to_latents(tokens, config.patch, config.side) / decoding.scale
        return [to_rounded_pixels(tokenizer.decode(one[None])) for one in z]

    def draw(count):
        whole = 1.0 if share == 1 else share * count
        return timed(lambda: draw_tokens(count), pixels, whole)

    about = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    if side != "compile":
        serve(draw, steps, **about)
        return
    try:
        # shapes that come late in an image are compiled for when they come
        serve(draw, steps, steps, **about)
    except Exception as error:
        # whatever a compiler of C++ that is missing, too old or broken raises
        lines = f"{type(error).__name__}: {error}".strip().splitlines()
        answer({"error": (
            f"torch.compile cannot run the twin of {job.generator} here: {lines[0]}; "
            "it needs a C++ compiler such as g++; or compare with others: --against "
            "eager,onednn"
        )})  # fmt: skip


def to_pixels(image: torch.Tensor) -> torch.Tensor:
    return (127.5 * image + 128).clamp(0, 255).to(torch.uint8)


def to_rounded_pixels(image: torch.Tensor) -> torch.Tensor:
    return (127.5 * image + 127.5).round().clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])), sys.argv[2])
