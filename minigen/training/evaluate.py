"""`python -m minigen.training.evaluate`: measure checkpoints in training.

The twins do the work, so a checkpoint can be looked at while its training goes on; the
models that ship are measured by `minigen evaluate`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from minigen import plans
from minigen.errors import MinigenError
from minigen.families import PRESETS
from minigen.training import raster
from minigen.training.aim import Aim
from minigen.training.arpg import Arpg, generate
from minigen.training.data import read_mnist, to_grey, to_input, tokenize
from minigen.training.judge import Judge, classify
from minigen.training.llamagen import Gpt
from minigen.training.trainer import read
from minigen.training.vq import Vq
from minigen.words import complain, say

TWINS = {"arpg": Arpg, "gpt": Gpt, "aim": Aim, "vq": Vq, "judge": Judge}


def load(name: str, folder: str | Path) -> nn.Module:
    """The averaged model that training left in `folder/name/name.pt`."""
    model = TWINS[name](PRESETS[f"{name}-mnist"])
    model.load_state_dict(read(Path(folder) / name / f"{name}.pt")["ema"])
    return model.eval()


@torch.no_grad()
def draw(vq: Vq, tokens: Tensor, batch: int = 50) -> Tensor:
    """Tokens (b n) in raster order -> digits (b y x) uint8."""
    side = PRESETS["arpg-mnist"].side
    parts = [vq.decode_code(part, (side, side)) for part in tokens.split(batch)]
    return to_grey(torch.cat(parts))


def report_tokenizer(vq: Vq, classifier: Judge, grey: Tensor, labels: Tensor) -> dict:
    """How digits come back from tokens: errors, agreement, and what the codes carry."""
    tokens = tokenize(vq, grey)
    drawn = draw(vq, tokens)
    before, after = classify(classifier, grey), classify(classifier, drawn)
    counts = torch.bincount(tokens.flatten(), minlength=vq.config.codes).double()
    p = counts[counts > 0] / counts.sum()
    return {
        "judge_accuracy": (before == labels).double().mean().item(),
        "accuracy_after": (after == labels).double().mean().item(),
        "agreement": (after == before).double().mean().item(),
        "l2": (to_input(drawn) - to_input(grey)).square().mean().item(),
        "codes_used": int((counts > 0).sum()),
        "nats": -(p * p.log()).sum().item(),
    }


def sample(
    model: Arpg, count: int, order: str, schedule: str, steps: int, seed: int, **options
) -> tuple[Tensor, Tensor]:
    """Labels (b), taking turns, and tokens (b n); a hundred images share an order."""
    labels, side = torch.arange(count) % model.config.classes, model.config.side
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for i, part in enumerate(labels.split(100)):
        plan = plans.plan((side, side), order, schedule, steps, seed=seed + i)
        call = model, part, torch.tensor(plan.order), list(plan.counts)
        drawn.append(generate(*call, generator=generator, **options))
    return labels, torch.cat(drawn)


def sample_raster(
    model: Gpt | Aim, count: int, seed: int, **options
) -> tuple[Tensor, Tensor]:
    """Labels (b), taking turns, and tokens (b n), row by row."""
    labels = torch.arange(count) % model.config.classes
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        raster.generate(model, part, generator=generator, **options)
        for part in labels.split(100)
    ]
    return labels, torch.cat(drawn)


def sweep(args: argparse.Namespace, vq: Vq, classifier: Judge):
    """Print the share of digits in which the classifier sees the class asked for."""
    model, names = load(args.what, args.train), ("guidance", "temperature", "top_k")
    draw_tokens = sample_raster
    if args.what == "arpg":
        names = ("order", "schedule", "steps", "guidance", "ramp", *names[1:])
        draw_tokens = sample
    for values in itertools.product(*(getattr(args, name) for name in names)):
        setting, started = dict(zip(names, values, strict=True)), time.monotonic()
        labels, tokens = draw_tokens(model, args.count, seed=args.seed, **setting)
        right = classify(classifier, draw(vq, tokens)) == labels
        share = right.double().mean().item()
        shown = " ".join(f"{name} {value}" for name, value in setting.items())
        seconds = time.monotonic() - started
        say(f"{shown}: agreement {share:.3f} ({seconds:.0f} s)")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m minigen.training.evaluate")
    add = parser.add_argument
    add("what", choices=["vq", "arpg", "gpt", "aim"])
    add("--train", required=True, help="folder that holds vq/, judge/, arpg/ ...")
    add("--data", help="folder of the four MNIST files, for vq")
    add("--count", type=int, default=1000, help="digits per setting")
    # each option takes several values; all combinations are tried
    several = partial(add, nargs="+")
    several("--order", default=["random"])
    several("--schedule", default=["arccos"])
    several("--steps", type=int, default=[64, 16])
    several("--guidance", type=float, default=[6.0])
    several("--ramp", default=["constant"], choices=["linear", "constant"])
    several("--temperature", type=float, default=[0.7])
    several("--top-k", type=int, default=[0])
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=2)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    try:
        vq, classifier = load("vq", args.train), load("judge", args.train)
        if args.what != "vq":
            sweep(args, vq, classifier)
        else:
            report = report_tokenizer(vq, classifier, *read_mnist(args.data, "test"))
            for name, value in report.items():
                say(f"{name} {round(value, 4)}")
    except MinigenError as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
