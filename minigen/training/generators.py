"""What the training of all generators shares: a new model, and encoded digits."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from minigen.checkpoints import load_model
from minigen.checkpoints import names as layout
from minigen.errors import InputError
from minigen.families import PRESETS
from minigen.finding import find
from minigen.images import outline
from minigen.training import trainer
from minigen.training.data import measure, read_mnist, tokenize, tokenize_versions
from minigen.training.kl import Kl
from minigen.training.layers import Dropouts
from minigen.training.vq import Vq
from minigen.words import say
from minigen.writing import check_writable, make_folder

OWN = "arhead", "diffloss", "control"
"""Where names of weights begin that another generator, to start from, may lack."""


def new_generator(twin, preset: str, args: argparse.Namespace):
    """A new twin, with the weights of --start if given, and the same twin compiled."""
    torch.manual_seed(args.seed)
    dropouts = Dropouts(args.dropout, args.dropout, args.dropout, args.label_dropout)
    model = twin(PRESETS[preset], dropouts)
    if args.start:
        begin_with(model, weights_of(args.start), args.start)
    return model, torch.compile(model) if args.compile else model


def begin_with(model: nn.Module, state: dict[str, Tensor], path: str):
    """Load the weights of another generator, which may differ in head and control."""
    own = model.state_dict()
    one, other = (
        {(n, p.shape) for n, p in each.items() if n.partition(".")[0] not in OWN}
        for each in (own, state)
    )
    odd = [name for name, _ in one ^ other]
    if odd:
        raise InputError(
            f"{path} is of another model: {min(odd)} is missing in one of them, or has "
            "another shape; train without --start, or choose another file"
        )
    alike = own.keys() & state.keys()
    model.load_state_dict({name: state[name] for name in alike}, strict=False)


def tokens_of(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Tokens (a b n) of the training digits, and their labels."""
    return encoded(
        args, "tokens", Vq, lambda vq, *given: tokenize_versions(vq, *given).int()
    )


def outlines_of(args: argparse.Namespace) -> Tensor:
    """Tokens (a b n) of the outlines of the training digits: `minigen.images.outline`.

    Of the same versions as `tokens_of`: each is shifted first.
    """

    def encode(vq, grey):
        rgb = grey.numpy()[..., None].repeat(3, axis=-1)
        return tokenize(vq, torch.from_numpy(outline(rgb)[..., 0]))

    def versions(vq, *given):
        return tokenize_versions(vq, *given, encode=encode).int()

    return encoded(args, "outlines", Vq, versions)[0]


def moments_of(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Moments (a b 2c y x) of the training digits, and their labels."""
    return encoded(args, "moments", Kl, partial(tokenize_versions, encode=measure))


def encoded(args: argparse.Namespace, what: str, twin, encode) -> tuple[Tensor, Tensor]:
    """The encoded training digits (a b ..) and their labels, stored in the folder.

    They are encoded only once, by encode(tokenizer, grey, versions, shift, seed).
    """
    grey, labels = read_mnist(args.data, "train")
    path = Path(args.out) / f"{what}.pt"
    if not path.exists():
        make_folder(path.parent)
        check_writable(path)
        tokenizer = read_tokenizer(args.tokenizer, twin)
        tokenizer.to(memory_format=torch.channels_last)
        first, count = trainer.rank(), args.workers
        mine = encode(tokenizer, grey[first::count], args.versions, args.shift, first)
        whole = torch.stack(trainer.gather(mine), 2).flatten(1, 2)
        if first == 0:
            trainer.save(path, {what: whole})
            say(f"{what} of {tuple(whole.shape[:2])} digits in {path}")
        trainer.wait()
    whole = trainer.read(path)[what]
    if whole.shape[:2] != (args.versions, len(labels)):
        raise InputError(
            f"{path} holds {tuple(whole.shape[:2])} versions and digits, where "
            f"{(args.versions, len(labels))} were asked for; remove it to make it again"
        )
    return whole, labels


def read_tokenizer(path: str, twin=Vq) -> nn.Module:
    """The tokenizer of a training file, or one that ships: vq-mnist, X.safetensors."""
    tokenizer = twin(PRESETS[{Vq: "vq-mnist", Kl: "kl-mnist"}[twin]])
    # the record of codes that training used is no weight
    rest = tokenizer.load_state_dict(weights_of(path), strict=False)
    assert not rest.unexpected_keys
    return tokenizer


def weights_of(path: str) -> dict[str, Tensor]:
    """The averaged weights of a training file, or those of a name that ships or file.

    By the original's names, which a twin has.
    """
    if Path(path).suffix not in ("", ".safetensors"):
        return trainer.read(path)["ema"]
    model = load_model(find(path))
    return {
        name: torch.from_numpy(np.array(array, np.float32))
        for name, array in layout.to_upstream(model.config, model.weights).items()
    }
