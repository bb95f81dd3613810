"""AiM in PyTorch, for training and as the speed baseline: the original's names.

A mixer has two forms: all tokens of a sequence at once, for training, and one token
and a state, for drawing. Plain PyTorch does both: no kernel of mamba_ssm is needed.

Source: arXiv 2408.12245; hp-l33/AiM models/stage2/mixer_seq_simple.py, block.py;
state-spaces/mamba modules/mamba_simple.py, modules/mamba2.py. minigen's own forward
pass is `minigen.models.aim`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.config import AimConfig, Mamba1Config, Mamba2Config
from minigen.errors import InputError
from minigen.models.aim import POSITIONS
from minigen.models.mamba import CHUNK, EPS
from minigen.training.arpg import Dropouts, draw_noise, keep_top, widen
from minigen.training.llamagen import Classes, Step

STEP_SIZES = 1e-3, 1e-1
"""Between these the first step sizes are drawn, evenly in their logarithm."""


@dataclass
class State:
    """What a mixer knows of the tokens before: conv (b c w), its last raw inputs,
    newest last; scan (b c s) for Mamba-1, (b h p s) for Mamba-2, in float32."""

    conv: Tensor
    scan: Tensor

    def slide(self, x: Tensor, conv: nn.Conv1d) -> Tensor:
        """Take in x (b c); returns silu of its convolution with those before."""
        self.conv.copy_(self.conv.roll(-1, -1))
        self.conv[:, :, -1] = x
        x = (self.conv * conv.weight[:, 0]).sum(-1)
        return F.silu(x if conv.bias is None else x + conv.bias)


class RmsNorm(nn.Module):
    """w x / sqrt(mean(x^2) + eps), in groups of channels and in float32."""

    def __init__(self, width: int, groups: int = 1):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        parts = widen(x).unflatten(-1, (self.groups, -1))
        y = parts * torch.rsqrt(parts.square().mean(-1, keepdim=True) + EPS)
        return (y.flatten(-2) * self.weight).type_as(x)


def convolve(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """silu of the causal convolution of x (b n c), channel by channel.

    A sum of shifted products: on a CPU a grouped convolution takes far longer.
    """
    n, window = x.shape[1], conv.weight.shape[-1]
    padded = F.pad(x, (0, 0, window - 1, 0))
    y = sum(padded[:, k : k + n] * conv.weight[:, 0, k] for k in range(window))
    return F.silu(y if conv.bias is None else y + conv.bias)


def depthwise(config: Mamba1Config | Mamba2Config) -> nn.Conv1d:
    c = config.channels
    return nn.Conv1d(c, c, config.window, groups=c, bias=config.conv_bias)


def first_steps(count: int) -> Tensor:
    """Biases that softplus turns into step sizes spread over `STEP_SIZES`."""
    low, high = map(math.log, STEP_SIZES)
    delta = torch.exp(low + (high - low) * torch.rand(count))
    return delta + torch.log(-torch.expm1(-delta))


class Mamba1(nn.Module):
    """The mixer of Mamba-1: every channel has a state of its own."""

    def __init__(self, config: Mamba1Config):
        super().__init__()
        self.config, inner, rank = config, config.inner, config.rank
        rates = torch.arange(1, config.state_size + 1).float()
        self.A_log = nn.Parameter(rates.log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.in_proj = nn.Linear(config.width, 2 * inner, bias=config.bias)
        self.conv1d = depthwise(config)
        self.x_proj = nn.Linear(inner, rank + 2 * config.state_size, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        self.dt_proj.bias = nn.Parameter(first_steps(inner))
        self.out_proj = nn.Linear(inner, config.width, bias=config.bias)

    def choose(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes (... c), B and C (... s), read off the convolved signal."""
        sizes = self.config.rank, self.config.state_size, self.config.state_size
        low, B, C = self.x_proj(x).split(sizes, -1)
        return F.softplus(widen(self.dt_proj(low))), widen(B), widen(C)

    def new_state(self, batch: int) -> State:
        shape = batch, self.config.inner, self.config.state_size
        return empty_state(self, batch, shape)

    def advance(self, x: Tensor, state: Tensor) -> Tensor:
        """Move the state (b c s) on by a convolved token x (b c); returns y."""
        delta, B, C = self.choose(x)
        x = widen(x)
        decay = torch.exp(delta[..., None] * -torch.exp(widen(self.A_log)))
        state.mul_(decay).addcmul_((delta * x)[..., None], B[:, None])
        return (state @ C[..., None])[..., 0] + self.D * x

    def forward(self, u: Tensor) -> Tensor:
        """What all tokens u (b n d) become."""
        x, z = self.in_proj(u).chunk(2, -1)
        x = convolve(x, self.conv1d)
        delta, B, C = self.choose(x)
        x = widen(x)
        A, h, y = -torch.exp(self.A_log), 0, []
        for t in range(x.shape[1]):
            taken = (delta[:, t] * x[:, t])[..., None] * B[:, t, None]
            h = torch.exp(delta[:, t, :, None] * A) * h + taken
            y.append((h * C[:, t, None]).sum(-1))
        y = torch.stack(y, 1) + self.D * x
        return self.out_proj(y.type_as(u) * F.silu(z))

    def step(self, u: Tensor, state: State) -> Tensor:
        """What one token u (b d) becomes; the state is moved on in place."""
        x, z = self.in_proj(u).chunk(2, -1)
        y = self.advance(state.slide(x, self.conv1d), state.scan)
        return self.out_proj(y.type_as(u) * F.silu(z))


class Mamba2(nn.Module):
    """The mixer of Mamba-2: the channels of a head share a rate, groups of heads share
    B and C."""

    def __init__(self, config: Mamba2Config):
        super().__init__()
        self.config, inner, h = config, config.inner, config.heads
        self.dt_bias = nn.Parameter(first_steps(h))
        self.A_log = nn.Parameter(torch.empty(h).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(h))
        width = inner + config.channels + h
        self.in_proj = nn.Linear(config.width, width, bias=config.bias)
        self.conv1d = depthwise(config)
        self.norm = RmsNorm(inner, config.groups)
        self.out_proj = nn.Linear(inner, config.width, bias=config.bias)

    def split(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gate z (... d), what is convolved (... c), and step sizes (... h)."""
        config = self.config
        sizes = config.inner, config.channels, config.heads
        z, xBC, delta = self.in_proj(u).split(sizes, -1)
        return z, xBC, F.softplus(widen(delta) + self.dt_bias)

    def part(self, xBC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The signal x (... h p), B and C (... r s), in float32."""
        config = self.config
        size = config.groups * config.state_size
        x, B, C = widen(xBC).split((config.inner, size, size), -1)
        B, C = (each.unflatten(-1, (config.groups, -1)) for each in (B, C))
        return x.unflatten(-1, (config.heads, -1)), B, C

    def new_state(self, batch: int) -> State:
        config = self.config
        shape = batch, config.heads, config.head_size, config.state_size
        return empty_state(self, batch, shape)

    def leave(self, y: Tensor, z: Tensor) -> Tensor:
        return self.out_proj(self.norm(y * F.silu(widen(z))).type_as(z))

    def forward(self, u: Tensor) -> Tensor:
        """What all tokens u (b n d) become."""
        z, xBC, delta = self.split(u)
        x, B, C = self.part(convolve(xBC, self.conv1d))
        with torch.autocast("cpu", enabled=False):
            y = ssd(x, delta, -torch.exp(self.A_log), B, C) + self.D[:, None] * x
        return self.leave(y.flatten(-2), z)

    def step(self, u: Tensor, state: State) -> Tensor:
        """What one token u (b d) becomes; the state is moved on in place."""
        z, xBC, delta = self.split(u)
        x, B, C = self.part(state.slide(xBC, self.conv1d))
        decay = torch.exp(delta * -torch.exp(widen(self.A_log)))
        # (b r k p s), where k heads share a group
        scan = state.scan.unflatten(1, (self.config.groups, -1))
        taken = (delta[..., None] * x).view(scan.shape[:-1])
        scan.mul_(decay.view(*scan.shape[:3], 1, 1))
        scan.addcmul_(taken[..., None], B[:, :, None, None])
        y = (scan.flatten(2, 3) @ C[..., None]).view_as(x) + self.D[:, None] * x
        return self.leave(y.flatten(-2), z)


def empty_state(mixer: Mamba1 | Mamba2, batch: int, scan: tuple[int, ...]) -> State:
    """The state before the first token: all zeros."""
    config, weights = mixer.config, mixer.conv1d.weight
    conv = weights.new_zeros(batch, config.channels, config.window)
    return State(conv, widen(weights.new_zeros(())).new_zeros(scan))


def ssd(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """State space duality: y (b n h p) of a sequence, `CHUNK` tokens at a time.

    x (b n h p), delta (b n h), A (h) below zero, B and C (b n r s). Inside a chunk it
    is attention with decay; a state (b h p s) goes from one chunk to the next.
    """
    shared, state, done = x.shape[2] // B.shape[2], None, []
    x = x * delta[..., None]
    for first in range(0, x.shape[1], CHUNK):
        part = slice(first, first + CHUNK)
        u = x[:, part].transpose(1, 2)
        keys, queries = (each[:, part].transpose(1, 2) for each in (B, C))
        sums = (delta[:, part] * A).transpose(1, 2).cumsum(-1)
        n = sums.shape[-1]
        later = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
        exponents = sums[..., None] - sums[..., None, :]
        decay = exponents.masked_fill(later, -torch.inf).exp()
        scores = (queries @ keys.mT).repeat_interleave(shared, 1) * decay
        y = scores @ u
        if state is not None:
            before = queries.repeat_interleave(shared, 1) @ state.mT
            y = y + before * sums.exp()[..., None]
            state = state * sums[..., -1:, None].exp()
        if part.stop < x.shape[1]:
            left = (u * decay[..., -1, :, None]).mT @ keys.repeat_interleave(shared, 1)
            state = left if state is None else state + left
        done.append(y)
    return torch.cat(done, 2).transpose(1, 2)


class GatedMlp(nn.Module):
    """fc2(v silu(g)) with v and g the halves of fc1 x."""

    def __init__(self, config: AimConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.fc2 = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.fc1(x).chunk(2, -1)
        return self.fc2(value * F.silu(gate))


def modulation(source: int, width: int, count: int) -> nn.Sequential:
    """`count` vectors made of one of `source` numbers: at first all zeros."""
    layer = nn.Linear(source, count * width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.SiLU(), layer)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale) + shift


class Layer(nn.Module):
    """A mixer, and a feed-forward layer if there is one, shifted, scaled and gated.

    What a branch leaves is added to the residual stream r, kept in float32, by the
    branch that follows.
    """

    def __init__(self, config: AimConfig):
        super().__init__()
        d, mixing = config.width, config.mixing
        self.factor = config.factor
        if config.condition_groups:
            shape = 1, self.factor, d
            self.scale_shift_table = nn.Parameter(torch.randn(shape) / d**0.5)
        else:
            self.adaLN_modulation = modulation(d, d, self.factor)
        self.norm = RmsNorm(d)
        mixer = Mamba2 if isinstance(mixing, Mamba2Config) else Mamba1
        self.mixer = mixer(mixing)
        rescaled = [self.mixer.out_proj.weight]
        if config.hidden:
            self.norm2, self.mlp = RmsNorm(d), GatedMlp(config)
            rescaled.append(self.mlp.fc2.weight)
        for weight in rescaled:
            bound = (weight.shape[1] * config.layers) ** -0.5
            nn.init.uniform_(weight, -bound, bound)

    def vectors(self, given: Tensor) -> list[Tensor]:
        """Shift, scale and gate (b d) of the mixer, then of the feed-forward layer.

        given: the class (b d), or what its group makes of it (b f d).
        """
        if hasattr(self, "scale_shift_table"):
            made = given + self.scale_shift_table
        else:
            made = self.adaLN_modulation(given).unflatten(-1, (self.factor, -1))
        parts = made.unbind(1)
        # with a feed-forward layer both branches take turns: shift, shift, scale, ...
        return [*parts[::2], *parts[1::2]] if self.factor == 6 else list(parts)

    def forward(
        self, x: Tensor, r: Tensor | None, given: Tensor, state: State | None = None
    ) -> tuple[Tensor, Tensor]:
        """Move on x (b n d) and r; with a state x is one token (b d)."""
        vectors = self.vectors(given)
        if state is None:
            vectors = [each[:, None] for each in vectors]
        shift, scale, gate = vectors[:3]
        r = widen(x) if r is None else r + x
        h = modulate(self.norm(r).type_as(x), shift, scale)
        x = gate * (self.mixer(h) if state is None else self.mixer.step(h, state))
        if self.factor == 6:
            shift, scale, gate = vectors[3:]
            r = r + x
            x = gate * self.mlp(modulate(self.norm2(r).type_as(x), shift, scale))
        return x, r


class Embeddings(nn.Module):
    """The tables of tokens and of their positions."""

    def __init__(self, config: AimConfig, dropout: float):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.width)
        self.position_embeddings = nn.Embedding(config.tokens + 1, config.width)
        self.token_dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, rows: Tensor) -> Tensor:
        words = self.token_dropout(self.word_embeddings(tokens))
        return words + self.position_embeddings(rows)


class Last(nn.Module):
    """The second norm before the head, shifted and scaled."""

    def __init__(self, config: AimConfig):
        super().__init__()
        self.norm_final = RmsNorm(config.width)
        self.adaLN_modulation = modulation(config.width, config.width, 2)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(given).chunk(2, -1)
        return modulate(self.norm_final(x), shift, scale)


class Backbone(nn.Module):
    """Everything but the head, which is the table of tokens."""

    def __init__(self, config: AimConfig, dropouts: Dropouts):
        super().__init__()
        self.groups, width = config.condition_groups, config.width
        self.embeddings = Embeddings(config, dropouts.token)
        self.cls_embed = Classes(config.classes + 1, width)
        if self.groups:
            shared = nn.Linear(width, self.groups * config.factor * width)
            nn.init.zeros_(shared.bias)
            self.adaln_group = nn.Sequential(nn.SiLU(), shared)
        self.final_layer = Last(config)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.layers)])
        self.norm_f = RmsNorm(width)
        for table in self.modules():
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=0.02)

    def forward(
        self, x: Tensor, given: Tensor, states: list[State] | None = None
    ) -> Tensor:
        """Read tokens x (b n d), or with states one token (b d), of classes (b d)."""
        conditions, r = [given], None
        if self.groups:
            vectors = self.adaln_group(given).unflatten(-1, (-1, x.shape[-1]))
            # layers take turns with the groups
            conditions = vectors.chunk(self.groups, 1)
        for i, layer in enumerate(self.layers):
            state = None if states is None else states[i]
            x, r = layer(x, r, conditions[i % len(conditions)], state)
        h = self.norm_f(r + x).type_as(x)
        return self.final_layer(h, given if states is not None else given[:, None])


class Aim(nn.Module):
    """The model under the original's names, initialised as the original is.

    Of the dropouts AiM has those of tokens and of the label alone.
    """

    def __init__(self, config: AimConfig, dropouts: Dropouts | None = None):
        super().__init__()
        self.config, self.dropouts = config, dropouts or Dropouts()
        self.backbone = Backbone(config, self.dropouts)

    def forward(
        self, classes: Tensor, tokens: Tensor, positions: str = "trained"
    ) -> Tensor:
        """Logits (b 1+n v) of classes (b) followed by tokens (b n) in raster order.

        Row t predicts token t from the class and the t tokens before it. positions: a
        name of `minigen.models.aim.POSITIONS`.
        """
        given = self.backbone.cls_embed(classes)
        rows = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.backbone.embeddings(tokens, rows + POSITIONS[positions])
        return self.answer(self.backbone(torch.cat([given[:, None], x], 1), given))

    def read(self, x: Tensor, given: Tensor, states: list[State]) -> Tensor:
        """Logits (b v) after one more embedded token x (b d), of classes (b d)."""
        return self.answer(self.backbone(x, given, states))

    def answer(self, x: Tensor) -> Tensor:
        return F.linear(x, self.backbone.embeddings.word_embeddings.weight).float()


def training_loss(
    model: Aim,
    tokens: Tensor,
    labels: Tensor,
    uniforms: Tensor,
    positions: str = "trained",
) -> Tensor:
    """Mean cross entropy of tokens (b n) in raster order.

    A sample's class is hidden where its uniform number (b) is below the probability
    `label` of the dropouts.
    """
    hidden = uniforms < model.dropouts.label
    classes = torch.where(hidden, model.config.no_class_id, labels)
    logits = model(classes, tokens[:, :-1], positions)
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


@torch.no_grad()
def decode(
    model: Aim,
    labels: Tensor,
    count: int | None = None,
    *,
    guidance: float = 5.0,
    temperature: float = 1.0,
    top_k: int = 0,
    positions: str = "released",
    noise: Tensor | None = None,
    forced: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Draw `count` tokens in raster order, by default an image, one a step.

    guidance: of 1 is none. The modulations are computed anew in every step, as the
    original does. A token is argmax(p / noise) with exponential noise: `noise`
    (b n v), or fresh from `generator`. `forced` (b n) tokens stand in for drawn ones.
    """
    config, b = model.config, len(labels)
    count = config.tokens if count is None else count
    if not 1 <= count <= config.tokens:
        raise InputError(f"{count} tokens were asked for; there are {config.tokens}")
    two = guidance != 1
    if two:
        labels = torch.cat([labels, torch.full_like(labels, config.no_class_id)])
    backbone = model.backbone
    states = [layer.mixer.new_state(len(labels)) for layer in backbone.layers]
    given = x = backbone.cls_embed(labels)
    for i in range(count):
        logits = model.read(x, given, states)[:, None]
        conditional, unconditional = logits[:b], logits[b:] if two else None
        guided = conditional
        if two:
            guided = unconditional + (conditional - unconditional) * guidance
        part = slice(i, i + 1)
        if forced is not None:
            drawn = forced[:, part]
        else:
            p = keep_top(guided / max(temperature, 1e-5), top_k).softmax(-1)
            drawn = (p / draw_noise(noise, part, p, generator)).argmax(-1)
        yield Step(conditional, unconditional, guided, drawn)
        ids = (torch.cat([drawn, drawn]) if two else drawn)[:, 0]
        row = torch.full_like(ids, i + POSITIONS[positions])
        x = backbone.embeddings(ids, row)


def generate(model: Aim, labels: Tensor, count: int | None = None, **options) -> Tensor:
    """Tokens (b n) in raster order, drawn by `decode` with its options."""
    steps = decode(model, labels, count, **options)
    return torch.cat([step.tokens for step in steps], 1)
