"""The PyTorch twins as the other side of `minigen bench cpu`."""

from __future__ import annotations

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
from minigen.bench.worker import Job, latents, samples, serve, timed
from minigen.families import PRESETS, family_of
from minigen.training import mae, masked, raster
from minigen.training.layers import rotary_table


def stand_in(model: torch.nn.Module, dtype: str) -> torch.nn.Module:
    """Give a model on the meta device its stand-in weights, without copying them."""
    state = {name: tensor(array) for name, array in weights.state(model.config, dtype)}
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    # the one buffer that is no weight: the codes that training used last
    assert not unexpected and set(missing) <= {"quantize.codebook_used"}, missing
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


@torch.inference_mode()
def main(job: Job) -> None:
    """Answer the requests of `minigen bench cpu` with the PyTorch twins."""
    torch.set_num_threads(job.threads)
    config, decoding = PRESETS[job.generator], PRESETS[job.tokenizer]
    with torch.device("meta"):
        twins = [resolve_name(family_of(c).twin)(c) for c in (config, decoding)]
    generator, tokenizer = (stand_in(model, job.dtype) for model in twins)
    if hasattr(generator, "table"):
        generator.table = rotary_table(config)
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

    serve(draw, steps, torch=torch.__version__)


def to_pixels(image: torch.Tensor) -> torch.Tensor:
    return (127.5 * image + 128).clamp(0, 255).to(torch.uint8)


def to_rounded_pixels(image: torch.Tensor) -> torch.Tensor:
    return (127.5 * image + 127.5).round().clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
