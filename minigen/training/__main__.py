"""`python -m minigen.training vq|kl|arpg|gpt|aim|arinar|mar|judge`: train a model.

The schedule is defined by --steps: a run that is stopped in any way and started again
by the same command takes the same steps. The file it leaves, `OUT/NAME.pt`, holds
"model", "optimizer", "steps", "args" and "ema", as the original's training file does;
`minigen convert` makes the file that ships from "ema".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial

import torch

from minigen.errors import MinigenError
from minigen.families import FAMILIES
from minigen.training import aim, arinar, arpg, judge, kl, llamagen, mar, vq
from minigen.words import complain

TASKS = {
    "vq": vq, "kl": kl, "arpg": arpg, "gpt": llamagen, "aim": aim, "arinar": arinar,
    "mar": mar, "judge": judge,
}  # fmt: skip
"""The module of each twin: its `train`, and the `DEFAULTS` of its options."""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m minigen.training", description=__doc__
    )
    commands = parser.add_subparsers(dest="name", required=True)
    for name, task in TASKS.items():
        command = commands.add_parser(
            name, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        add = command.add_argument
        real = partial(add, type=float)
        add("--data", required=True, help="folder of the four MNIST files")
        add("--out", required=True, help="folder for the checkpoint")
        add("--steps", type=int, help="updates in the whole schedule")
        add("--batch", type=int, help="digits per update and worker")
        real("--rate", help="peak learning rate")
        add("--warm", type=int, help="updates until the peak rate")
        add("--shift", type=int, help="pixels to shift digits by, at most")
        real("--decay", default=0.05, help="weight decay of matrices")
        real("--average", default=0.999, help="decay of the averaged weights")
        real("--minutes", help="pause after this time")
        add("--threads", type=int, default=2, help="of all workers together")
        add("--workers", type=int, default=1, help="processes that share each update")
        add("--seed", type=int, default=0)
        add("--bf16", action="store_true", help="autocast to bfloat16")
        if name != "judge":
            add("--start", help="start from a file's averaged weights, or X-mnist's")
        if name == "vq":
            add("--plain", type=int, default=300, help="first steps, without codes")
            real("--blank", default=1.0, help="pull of blank patches to code 0")
        if name == "kl":
            real("--kl", default=1e-3, help="weight of the divergence")
        kind = FAMILIES[task.__name__.rpartition(".")[2]].tokenizer
        if kind:
            given = f"OUT/{kind}.pt, or {kind}-mnist"
            add("--tokenizer", required=True, help=given)
            add("--versions", type=int, default=1, help="stored versions of each digit")
            real("--dropout", default=0.0, help="of tokens, sums and hiddens")
            add("--compile", action="store_true", help="let torch.compile fuse passes")
            real("--label-dropout", default=0.1, help="hides the class")
        if kind == "kl":
            share = "share of the tokens that a step hides"
            real("--fewest", default=0.7, help=f"least {share}")
            real("--spread", default=0.25, help=f"deviation of the {share}")
        if name == "arpg":
            real("--misplace", default=0.0, help="of early content tokens")
            add("--control", action="store_true", help="learn to follow outlines")
        command.set_defaults(**task.DEFAULTS)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    args = parse(arguments)
    if args.workers == 1:
        return work(0, args)
    with tempfile.TemporaryDirectory() as folder:
        try:
            torch.multiprocessing.start_processes(
                meet,
                (args, f"file://{folder}/meeting"),
                args.workers,
                start_method="fork",
            )
        except torch.multiprocessing.ProcessExitedException as error:
            return error.exit_code
    return 0


def meet(rank: int, args: argparse.Namespace, meeting: str):
    """Run one of several workers, which meet by a file and share all gradients."""
    torch.distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=args.workers
    )
    sys.exit(work(rank, args))


def work(rank: int, args: argparse.Namespace) -> int:
    torch.set_num_threads(max(1, args.threads // args.workers))
    try:
        TASKS[args.name].train(args)
    except MinigenError as error:
        if rank == 0:
            complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
