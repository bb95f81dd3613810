"""The PyTorch twins as the other side of `minigen bench cpu`."""

from __future__ import annotations

import json
import sys

import ml_dtypes
import numpy as np
import torch

from minigen import plans
from minigen.bench import weights
from minigen.bench.worker import Job, serve, timed
from minigen.config import PRESETS
from minigen.training.arpg import Arpg, generate, rotary_table
from minigen.training.vq import Vq


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


@torch.inference_mode()
def main(job: Job) -> None:
    """Serve with the twins."""
    torch.set_num_threads(job.threads)
    config, tokenizer = PRESETS[job.generator], PRESETS[job.tokenizer]
    with torch.device("meta"):
        arpg, vq = Arpg(config), Vq(tokenizer)
    arpg, vq = stand_in(arpg, job.dtype), stand_in(vq, job.dtype)
    arpg.table = rotary_table(config)
    labels = torch.arange(job.batch) % config.classes
    grid = (config.side, config.side)
    order = torch.tensor(plans.plan(grid, "random", "one").order)

    def draw(steps):
        counts = list(plans.counts(job.schedule, config.tokens, steps))
        return timed(
            lambda: generate(arpg, labels, order, counts, guidance=job.guidance),
            lambda tokens: [to_pixels(vq.decode_code(t[None], grid)) for t in tokens],
        )

    serve(draw, job.steps, torch=torch.__version__)


def to_pixels(image: torch.Tensor) -> torch.Tensor:
    return (127.5 * image + 128).clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
