"""The PyTorch twins as the other side of `minigen bench cpu`."""

from __future__ import annotations

import json
import sys

import ml_dtypes
import numpy as np
import torch
import torch.nn.functional as F

from minigen import plans
from minigen.bench import weights
from minigen.bench.worker import Job, serve, timed
from minigen.config import PRESETS, AimConfig, ArpgConfig, GptConfig
from minigen.training import aim, arpg, llamagen
from minigen.training.vq import Vq

GENERATORS = {ArpgConfig: arpg.Arpg, GptConfig: llamagen.Gpt, AimConfig: aim.Aim}


def stand_in(model: torch.nn.Module, dtype: str) -> torch.nn.Module:
    """Give a model made without memory its stand-in weights, without copying them."""
    state = {name: tensor(array) for name, array in weights.state(model.config, dtype)}
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    # the one buffer that is no weight: which codes training has used
    assert not unexpected and set(missing) <= {"quantize.codebook_used"}, missing
    return model.eval()


def tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def drawer(job: Job, model: torch.nn.Module):
    """Return draw(count): tokens (b n) made in so many steps, 0 where none is drawn."""
    config = model.config
    labels = torch.arange(job.batch) % config.classes
    if not isinstance(config, ArpgConfig):
        twin = aim if isinstance(config, AimConfig) else llamagen

        def draw_first(count):
            tokens = twin.generate(model, labels, count, guidance=job.guidance)
            return F.pad(tokens, (0, config.tokens - count))

        return draw_first
    plan = plans.plan((config.side, config.side), "random", "one")
    order = torch.tensor(plan.order)

    def draw_all(steps):
        counts = list(plans.counts(job.schedule, config.tokens, steps))
        return arpg.generate(model, labels, order, counts, guidance=job.guidance)

    return draw_all


@torch.inference_mode()
def main(job: Job) -> None:
    """Serve with the twins."""
    torch.set_num_threads(job.threads)
    config, tokenizer = PRESETS[job.generator], PRESETS[job.tokenizer]
    with torch.device("meta"):
        generator, vq = GENERATORS[type(config)](config), Vq(tokenizer)
    generator, vq = stand_in(generator, job.dtype), stand_in(vq, job.dtype)
    if hasattr(generator, "table"):
        generator.table = arpg.rotary_table(config)
    draw_tokens, grid = drawer(job, generator), (config.side, config.side)

    def draw(count):
        return timed(
            lambda: draw_tokens(count),
            lambda tokens: [to_pixels(vq.decode_code(t[None], grid)) for t in tokens],
        )

    serve(draw, job.tokens or job.steps, torch=torch.__version__)


def to_pixels(image: torch.Tensor) -> torch.Tensor:
    return (127.5 * image + 128).clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
