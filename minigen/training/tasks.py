"""What each trainer does in a step: the losses of the tokenizers, of the generators,
and of the judge."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.checkpoints import load_model
from minigen.checkpoints import names as layout
from minigen.config import PRESETS
from minigen.errors import InputError
from minigen.finding import find
from minigen.training import aim, arinar, llamagen, mae, mar, trainer
from minigen.training.arpg import Arpg, Dropouts, training_loss
from minigen.training.data import (
    draw_shifts,
    measure,
    read_mnist,
    shift,
    to_input,
    tokenize_versions,
)
from minigen.training.judge import Judge
from minigen.training.kl import Kl, posterior_of, training_losses
from minigen.training.trainer import train
from minigen.training.vq import Quantizer, Vq
from minigen.words import say
from minigen.writing import check_place, make_folder

RESTART = 100  # steps between the restarts of unused codes
HEADS = "arhead", "diffloss"  # of the generators that have one
RARE = 16  # a code seen less often than this among the last 65536 is unused


def autocast(args: argparse.Namespace):
    return torch.autocast("cpu", torch.bfloat16, enabled=args.bf16)


def draw_images(grey: Tensor, args: argparse.Namespace, g: torch.Generator):
    """Indices (b) and the images (b 3 y x) there, shifted by up to `args.shift`."""
    index = torch.randint(len(grey), (args.batch,), generator=g)
    rows, columns = draw_shifts(args.batch, args.shift, g)
    return index, to_input(shift(grey[index], rows, columns))


def train_vq(args: argparse.Namespace) -> nn.Module:
    grey, _ = read_mnist(args.data, "train")
    torch.manual_seed(args.seed)
    model = Vq(PRESETS["vq-mnist"])
    if args.start:
        state, codes = trainer.read(args.start)["ema"], model.config.codes
        # a larger codebook is cut: k-means places the codes anew
        state["quantize.embedding.weight"] = state["quantize.embedding.weight"][:codes]
        model.load_state_dict(state)
    recent = {}

    def loss(step, g):
        _, images = draw_images(grey, args, g)
        with autocast(args):
            z = model.latent(images).float()
            vectors, blank = model.quantize.vectors(z), find_blank(images, z)
            if step < args.plain:
                codes, losses = vectors.movedim(-1, 1), {}
            else:
                codes, losses, _ = model.quantize(z)
            drawn = model.decode(codes.contiguous()).float()
        # blank patches all become code 0: else they vary freely, for ARPG to guess
        away = (vectors - model.quantize.codebook()[0].detach()).square().sum(-1)
        losses["blank"] = args.blank * (away * blank).mean()
        recent["vectors"] = vectors[~blank].detach()
        return {
            "l2": F.mse_loss(drawn, images),
            "l1": F.l1_loss(drawn, images),
            **losses,
        }

    def after(step):
        if step == args.plain:
            place_codes(model.quantize, recent["vectors"])
        elif args.plain < step < 0.6 * args.steps and step % RESTART == 0:
            restart_codes(model.quantize, recent["vectors"])
        return args.plain <= step and step % RESTART == 0

    return train(model, loss, args, after)


def find_blank(images: Tensor, z: Tensor) -> Tensor:
    """Which patches of images (b 3 Y X) are black, for z (b e y x): (b y x)."""
    return F.adaptive_max_pool2d(images[:, 0], z.shape[2:]) < -0.99


@torch.no_grad()
def place_codes(quantizer: Quantizer, vectors: Tensor, rounds: int = 20):
    """Put all codes but 0 where k-means puts them among vectors (n e)."""
    rows = quantizer.embedding.weight[1:]
    chosen = [vectors[torch.randint(len(vectors), ())]]
    nearest = (vectors - chosen[0]).square().sum(1)
    for _ in range(len(rows) - 1):
        chosen.append(vectors[torch.multinomial(nearest + 1e-12, 1)[0]])
        nearest = nearest.minimum((vectors - chosen[-1]).square().sum(1))
    rows.copy_(torch.stack(chosen))
    for _ in range(rounds):
        owner = torch.cdist(vectors, rows).argmin(1)
        sums = torch.zeros_like(rows).index_add_(0, owner, vectors)
        counts = torch.bincount(owner, minlength=len(rows))
        means = sums / counts[:, None]
        rows[counts > 0] = (F.normalize(means, dim=-1) if quantizer.unit else means)[
            counts > 0
        ]


@torch.no_grad()
def restart_codes(quantizer: Quantizer, vectors: Tensor):
    """Move unused codes onto those of vectors (n e) that lie far from every code."""
    rows = quantizer.embedding.weight
    used = torch.bincount(quantizer.codebook_used.long(), minlength=len(rows))
    unused = (used < RARE).nonzero()[: len(vectors), 0]
    if len(unused):
        far = torch.cdist(vectors, quantizer.codebook()).min(1).values.square()
        rows[unused] = vectors[torch.multinomial(far + 1e-12, len(unused))]


def train_kl(args: argparse.Namespace) -> nn.Module:
    grey, _ = read_mnist(args.data, "train")
    torch.manual_seed(args.seed)
    model = Kl(PRESETS["kl-mnist"])
    if args.start:
        model.load_state_dict(trainer.read(args.start)["ema"])
    side = grey.shape[1] // model.config.factor
    shape = args.batch, model.config.channels, side, side

    def loss(step, g):
        _, images = draw_images(grey, args, g)
        noise = torch.randn(shape, generator=g)
        with autocast(args):
            return training_losses(model, images, noise, args.kl)

    average = train(model, loss, args)
    if trainer.rank() == 0:
        deviation = deviation_of(average, grey[:1000])
        say(
            f"samples deviate by {deviation:.4f} from 0, so that kl-mnist's scale "
            f"should be {1 / deviation:.4f}"
        )
    return average


@torch.no_grad()
def deviation_of(kl: Kl, grey: Tensor, batch: int = 50) -> float:
    """How far samples of the posteriors of (b y x) uint8 digits lie from 0."""
    kl.eval()
    squares = []
    for part in grey.split(batch):
        posterior = kl.encode(to_input(part))
        squares.append(posterior.mean.square() + posterior.log_variance.exp())
    return torch.cat(squares).mean().sqrt().item()


def train_arpg(args: argparse.Namespace) -> nn.Module:
    tokens, labels = tokens_of(args)
    model, compiled = new_generator(Arpg, "arpg-mnist", args)
    versions, digits, n = tokens.shape

    def loss(step, g):
        index = torch.randint(digits, (args.batch,), generator=g)
        version = torch.randint(versions, (args.batch,), generator=g)
        order = torch.rand(args.batch, n, generator=g).argsort(1)
        uniforms = torch.rand(args.batch, generator=g)
        chosen = tokens[version, index].long()
        places = misplace(order, args.misplace, g)
        with autocast(args):
            return {
                "loss": training_loss(
                    compiled, chosen, labels[index], order, uniforms, places
                )
            }

    return train(model, loss, args)


def train_gpt(args: argparse.Namespace) -> nn.Module:
    return train_raster(llamagen.Gpt, "gpt-mnist", llamagen.training_loss, args)


def train_aim(args: argparse.Namespace) -> nn.Module:
    # with the rows of positions that drawing uses, which AiM itself was not trained on
    loss = partial(aim.training_loss, positions="released")
    return train_raster(aim.Aim, "aim-mnist", loss, args)


def train_raster(twin, preset: str, loss_of, args: argparse.Namespace) -> nn.Module:
    """Train a generator that draws tokens row by row."""
    tokens, labels = tokens_of(args)
    model, compiled = new_generator(twin, preset, args)
    versions, digits, _ = tokens.shape

    def loss(step, g):
        index = torch.randint(digits, (args.batch,), generator=g)
        version = torch.randint(versions, (args.batch,), generator=g)
        uniforms = torch.rand(args.batch, generator=g)
        chosen = tokens[version, index].long()
        with autocast(args):
            return {"loss": loss_of(compiled, chosen, labels[index], uniforms)}

    return train(model, loss, args)


def train_arinar(args: argparse.Namespace) -> nn.Module:
    def loss(model, *given, generator):
        return arinar.training_loss(model, *given)

    average = train_masked(arinar.Arinar, "arinar-mnist", loss, args)
    bits = arinar.bits_per_feature(
        loss_on_test(average, loss, args), average.config.features
    )
    if trainer.rank() == 0:
        say(f"{bits:.4f} bits a feature of the test digits, one token after the other")
    return average


def train_mar(args: argparse.Namespace) -> nn.Module:
    average = train_masked(mar.Mar, "mar-mnist", mar.training_loss, args)
    loss = loss_on_test(average, mar.training_loss, args)
    if trainer.rank() == 0:
        say(f"loss of the test digits, one token after the other: {loss:.4f}")
    return average


def train_masked(twin, preset: str, loss_of, args: argparse.Namespace) -> nn.Module:
    """Train a generator that draws latents, any set of them after any other.

    loss_of(model, tokens, labels, known, masked, generator=..)
    """
    moments, labels = moments_of(args)
    model, compiled = new_generator(twin, preset, args)
    versions, digits = moments.shape[:2]

    def loss(step, g):
        index = torch.randint(digits, (args.batch,), generator=g)
        version = torch.randint(versions, (args.batch,), generator=g)
        tokens = draw_latents(moments[version, index], g)
        uniforms = torch.rand(args.batch, generator=g)
        told = mae.hidden_labels(model, labels[index], uniforms)
        order = torch.rand(tokens.shape[:2], generator=g).argsort(1)
        uniform = torch.rand((), generator=g)
        places = mae.hide(order, uniform, args.fewest, args.spread)
        with autocast(args):
            return {"loss": loss_of(compiled, tokens, told, *places, generator=g)}

    return train(model, loss, args)


def draw_latents(moments: Tensor, g: torch.Generator) -> Tensor:
    """Tokens (b n c) drawn of the moments (b 2c y x) of kl-mnist."""
    config = PRESETS["kl-mnist"]
    posterior = posterior_of(moments, config.variational)
    noise = torch.randn(posterior.mean.shape, generator=g)
    return mae.to_tokens(config.scale * posterior.sample(noise))


@torch.no_grad()
def loss_on_test(model: nn.Module, loss_of, args: argparse.Namespace) -> float:
    """The mean loss of at most 1024 test digits' tokens, drawn one after the other.

    It is over random orders, and a part of the digits for each number of tokens known.
    """
    model.eval()
    n = model.config.tokens
    grey, labels = (each[: 1024 // n * n] for each in read_mnist(args.data, "test"))
    g, losses = torch.Generator().manual_seed(0), []
    moments = measure(read_tokenizer(args.tokenizer, Kl), grey)
    for k in range(n):
        tokens = draw_latents(moments[k::n], g)
        order = torch.rand(tokens.shape[:2], generator=g).argsort(1)
        places = order[:, :k].sort(1).values, order[:, k:].sort(1).values
        if len(tokens):
            call = model, tokens, labels[k::n], *places
            losses.append(loss_of(*call, generator=g).item())
    return sum(losses) / len(losses)


def new_generator(twin, preset: str, args: argparse.Namespace):
    """A twin to be trained from scratch or on from --start, and the same compiled."""
    torch.manual_seed(args.seed)
    dropouts = Dropouts(args.dropout, args.dropout, args.dropout, args.label_dropout)
    model = twin(PRESETS[preset], dropouts)
    if args.start:
        begin_with(model, trainer.read(args.start)["ema"], args.start)
    return model, torch.compile(model) if args.compile else model


def begin_with(model: nn.Module, state: dict[str, Tensor], path: str):
    """Give a generator the weights of another, of which only the head may differ."""
    own = model.state_dict()
    odd = [
        name
        for name in own.keys() | state.keys()
        if name.partition(".")[0] not in HEADS
        and (
            name not in own or name not in state or own[name].shape != state[name].shape
        )
    ]
    if odd:
        raise InputError(
            f"{path} is of another model: {min(odd)} is missing in one of them, or has "
            "another shape; train without --start, or choose another file"
        )
    alike = own.keys() & state.keys()
    model.load_state_dict({name: state[name] for name in alike}, strict=False)


def misplace(order: Tensor, most: float, g: torch.Generator) -> Tensor:
    """Positions (b n) to read content from: the earlier, the more often a random one.

    Without tokens around it no query knows where on the grid it stands (the class
    token's key is zero), so the first tokens drawn belong anywhere. Trained on contents
    that begin so, the model does not believe them more than they deserve.
    """
    b, n = order.shape
    chance = most * torch.exp(-torch.arange(n) / 4)
    elsewhere = torch.randint(n, (b, n), generator=g)
    return torch.where(torch.rand(b, n, generator=g) < chance, elsewhere, order)


def tokens_of(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Tokens (a b n) of the training digits, and their labels."""
    return encoded(
        args, "tokens", Vq, lambda vq, *given: tokenize_versions(vq, *given).int()
    )


def moments_of(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Moments (a b 2c y x) of the training digits, and their labels."""
    return encoded(args, "moments", Kl, partial(tokenize_versions, encode=measure))


def encoded(args: argparse.Namespace, what: str, twin, encode) -> tuple[Tensor, Tensor]:
    """What a tokenizer makes of the training digits, once, and keeps in the folder.

    encode(tokenizer, grey, versions, shift, seed) gives (a b ..).
    """
    grey, labels = read_mnist(args.data, "train")
    path = Path(args.out) / f"{what}.pt"
    if not path.exists():
        make_folder(path.parent)
        check_place(path)
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
    if Path(path).suffix not in ("", ".safetensors"):
        tokenizer.load_state_dict(trainer.read(path)["ema"])
        return tokenizer
    model = load_model(find(path))
    state = {
        name: torch.from_numpy(np.array(array, np.float32))
        for name, array in layout.to_upstream(model.config, model.weights).items()
    }
    # which codes training has used is no weight
    rest = tokenizer.load_state_dict(state, strict=False)
    assert not rest.unexpected_keys
    return tokenizer


def train_judge(args: argparse.Namespace) -> nn.Module:
    grey, labels = read_mnist(args.data, "train")
    torch.manual_seed(args.seed)
    model = Judge(PRESETS["judge-mnist"])

    def loss(step, g):
        index, images = draw_images(grey, args, g)
        with autocast(args):
            _, logits = model(images)
        return {"cross_entropy": F.cross_entropy(logits.float(), labels[index])}

    average = train(model, loss, args)
    test, answers = read_mnist(args.data, "test")
    say(f"test accuracy {(classify(average, test) == answers).float().mean():.4f}")
    return average


@torch.no_grad()
def classify(judge: nn.Module, grey: Tensor, batch: int = 250) -> Tensor:
    """(b y x) uint8 digits -> the classes (b) that the judge sees in them."""
    judge.eval()
    return torch.cat([judge(to_input(part))[1].argmax(1) for part in grey.split(batch)])
