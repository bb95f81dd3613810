"""The loop all trainers share: a run is a pure function of its arguments.

All random choices of step `s` come from a generator seeded by (seed, worker, s), so a
run that was killed and started again takes the same steps as one without a break.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from minigen.errors import InputError
from minigen.words import say
from minigen.writing import check_writable, make_folder, replace_file

BETAS, EPS, DECAY, CLIP = (0.9, 0.95), 1e-8, 0.05, 1.0
EVERY = 60  # seconds between checkpoints

Loss = Callable[[int, torch.Generator], dict[str, Tensor]]


def make_optimizer(model: nn.Module, rate: float, decay: float = DECAY):
    """AdamW, with weight decay for matrices and tables, but not for vectors.

    Mamba-1's A_log is a matrix of logarithms, and has no weight decay either.
    """
    pulled, free = [], []
    for name, p in model.named_parameters():
        if p.requires_grad:
            kept = p.ndim < 2 or name.endswith("A_log")
            (free if kept else pulled).append(p)
    groups = [
        {"params": pulled, "weight_decay": decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, eps=EPS)


def rate_at(step: int, steps: int, peak: float, warm: int) -> float:
    """Linear warm-up over `warm` steps, then a cosine down to a hundredth of the peak.

    >>> [rate_at(s, 101, 1.0, 1) for s in (0, 100)]
    [1.0, 0.01]
    """
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm + 1) / max(1, steps - warm)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float):
    """average <- decay * average + (1 - decay) * model; buffers are copied."""
    targets = [p for p in average.parameters()]
    sources = [p.detach() for p in model.parameters()]
    torch._foreach_mul_(targets, decay)
    torch._foreach_add_(targets, sources, alpha=1 - decay)
    for target, source in zip(average.buffers(), model.buffers(), strict=True):
        target.copy_(source)


def take_step(
    model: nn.Module, optimizer, losses: dict[str, Tensor], rate: float
) -> Tensor:
    """One update from the sum of `losses`; returns the norm before clipping."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    sum(losses.values()).backward()
    share_gradients(model)
    norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return norm


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


@torch.no_grad()
def share_gradients(model: nn.Module):
    """Replace gradients by their mean over the workers, in one exchange."""
    if dist.is_initialized():
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        pieces = flat.split([g.numel() for g in gradients])
        for g, piece in zip(gradients, pieces, strict=True):
            g.copy_(piece.view_as(g))


def share_weights(model: nn.Module):
    """Give all workers the weights and buffers of the first."""
    if dist.is_initialized():
        for t in model.state_dict().values():
            dist.broadcast(t, 0)


def gather(part: Tensor) -> list[Tensor]:
    """The parts of all workers; they must be of one shape."""
    if not dist.is_initialized():
        return [part]
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return parts


def wait():
    """Wait until all workers have called this."""
    if dist.is_initialized():
        dist.barrier()


def agree(choice: bool) -> bool:
    """The first worker's choice, for all."""
    if not dist.is_initialized():
        return choice
    flag = torch.tensor(choice)
    dist.broadcast(flag, 0)
    return bool(flag)


def save(path: Path, content: dict):
    """Write what `read` reads: a kill leaves the old file or the new one, whole."""
    with replace_file(path) as file:
        torch.save(content, file)


def read(path: str | Path) -> dict:
    """Read a file that `save` wrote; only data and argparse.Namespace are accepted."""
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; train it first")
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def generator_at(seed: int, step: int) -> torch.Generator:
    """The source of a worker's choices at one step; dropout is seeded with it."""
    # torch takes 32 bits of a seed, so the three are mixed into those
    mixed = int(np.random.SeedSequence((seed, rank(), step)).generate_state(1)[0])
    torch.manual_seed(mixed)
    return torch.Generator().manual_seed(mixed)


def autocast(args: argparse.Namespace):
    return torch.autocast("cpu", torch.bfloat16, enabled=args.bf16)


def train(
    model: nn.Module,
    loss: Loss,
    args: argparse.Namespace,
    after: Callable[[int], bool] = lambda step: False,
) -> nn.Module:
    """Take the steps that `args` asks for and return the averaged model.

    `loss(step, generator)` returns losses by name, which are summed; `after(step)` runs
    after each update and returns whether it changed weights. `args` has name, out,
    steps, batch, rate, warm, decay, average, seed, minutes and workers. If there is a
    checkpoint `out/name.pt`, training continues from it.
    """
    path = make_folder(args.out) / f"{args.name}.pt"
    check_writable(path)
    average = copy.deepcopy(model)
    optimizer = make_optimizer(model, args.rate, args.decay)
    step = resume(path, model, average, optimizer, args)
    started = saved = time.monotonic()
    progress = Progress(args, step)
    model.train()
    while step < args.steps:
        losses = loss(step, generator_at(args.seed, step))
        rate = rate_at(step, args.steps, args.rate, args.warm)
        norm = take_step(model, optimizer, losses, rate)
        step += 1
        if not math.isfinite(norm.item()):
            raise InputError(f"step {step} gave no finite gradient; lower --rate")
        if after(step):
            share_weights(model)
        update_average(average, model, min(args.average, step / (step + 10)))
        progress.show(step, losses, norm, rate)
        now = time.monotonic()
        pause = args.minutes and agree(now - started > 60 * args.minutes)
        if pause or step == args.steps or now - saved > EVERY:
            saved = now
            checkpoint(path, model, average, optimizer, args, step)
        if pause and step < args.steps:
            say(f"paused at step {step}; the same command continues from {path}")
            break
    return average


class Progress:
    """A line every quarter of a minute: losses, speed, and the time that is left."""

    def __init__(self, args: argparse.Namespace, step: int):
        self.args, self.step, self.shown = args, step, time.monotonic()

    def show(self, step: int, losses: dict[str, Tensor], norm: Tensor, rate: float):
        args, now = self.args, time.monotonic()
        if rank() or (now - self.shown < 15 and step < args.steps):
            return
        speed = (step - self.step) / (now - self.shown)
        values = " ".join(
            f"{name} {value.item():.4f}" for name, value in losses.items()
        )
        say(
            f"{time.strftime('%H:%M:%S')} step {step}/{args.steps} {values} "
            f"norm {norm.item():.2f} rate {rate:.2e} "
            f"{speed * args.batch * args.workers:.0f} images/s "
            f"eta {(args.steps - step) / speed / 60:.1f} min"
        )
        self.step, self.shown = step, now


def checkpoint(path: Path, model, average, optimizer, args, step: int):
    """Write a checkpoint to continue from, in the form of the original's."""
    if rank() == 0:
        content = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "steps": step,
            "args": args,
            "ema": average.state_dict(),
        }
        save(path, content)


def resume(path: Path, model, average, optimizer, args) -> int:
    """Load the checkpoint at `path` if there is one; returns the steps it had taken."""
    if not path.exists():
        return 0
    content = read(path)
    before, now = vars(content["args"]), vars(args)
    changed = {name for name in before | now if before.get(name) != now.get(name)}
    if "steps" in changed and rank() == 0:
        say(f"the schedule changes from {before['steps']} to {now['steps']} steps")
    changed -= {"steps", "out", "data", "minutes", "threads"}
    if changed:
        raise InputError(
            f"{path} was trained with other values of {', '.join(sorted(changed))}; "
            "give the same or another --out"
        )
    model.load_state_dict(content["model"])
    average.load_state_dict(content["ema"])
    optimizer.load_state_dict(content["optimizer"])
    if rank() == 0:
        say(f"going on from step {content['steps']} of {path}")
    return content["steps"]
