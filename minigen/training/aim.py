"""AiM in PyTorch, for training and as the speed baseline: the original's names.

Its mixers are those of `minigen.training.mamba`. Source: arXiv 2408.12245; hp-l33/AiM
models/stage2/mixer_seq_simple.py, block.py. minigen's own forward pass is
`minigen.models.aim`.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.families import AimConfig, Mamba2Config
from minigen.models.aim import POSITIONS
from minigen.training.layers import Dropouts, modulation, widen
from minigen.training.llamagen import Classes
from minigen.training.mamba import Mamba1, Mamba2, RmsNorm, State
from minigen.training.raster import train_raster

DEFAULTS = {"steps": 4000, "batch": 128, "rate": 3e-3, "warm": 200, "shift": 0}


class GatedMlp(nn.Module):
    """fc2(v silu(g)) with v and g the halves of fc1 x."""

    def __init__(self, config: AimConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.fc2 = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.fc1(x).chunk(2, -1)
        return self.fc2(value * F.silu(gate))


def new_norm(config: AimConfig) -> nn.Module:
    """The norm before a branch, and behind the last."""
    return (nn.LayerNorm if config.layer_norm else RmsNorm)(config.width)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale) + shift


class Layer(nn.Module):
    """A mixer, and a feed-forward layer if there is one, shifted, scaled and gated.

    The output of a branch is added to the residual stream r (float32) by the branch
    that follows.
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
        self.norm = new_norm(config)
        mixer = Mamba2 if isinstance(mixing, Mamba2Config) else Mamba1
        self.mixer = mixer(mixing)
        rescaled = [self.mixer.out_proj.weight]
        if config.hidden:
            self.norm2, self.mlp = new_norm(config), GatedMlp(config)
            rescaled.append(self.mlp.fc2.weight)
        for weight in rescaled:
            bound = (weight.shape[1] * config.layers) ** -0.5
            nn.init.uniform_(weight, -bound, bound)

    def vectors(self, given: Tensor) -> list[Tensor]:
        """Shift, scale and gate (b d) of the mixer, then of the feed-forward layer.

        given: the class embedding (b d), or its group's projection of it (b f d).
        """
        if hasattr(self, "scale_shift_table"):
            made = given + self.scale_shift_table
        else:
            made = self.adaLN_modulation(given).unflatten(-1, (self.factor, -1))
        parts = made.unbind(1)
        # with a feed-forward layer the order is shift, shift, scale, scale, gate, gate
        return [*parts[::2], *parts[1::2]] if self.factor == 6 else list(parts)

    def forward(
        self, x: Tensor, r: Tensor | None, given: Tensor, state: State | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the next x (b n d) and r; with a state x is a single token (b d)."""
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
    """The norm before the head, shifted and scaled by the class."""

    def __init__(self, config: AimConfig):
        super().__init__()
        self.norm_final = RmsNorm(config.width)
        self.adaLN_modulation = modulation(config.width, config.width, 2)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(given).chunk(2, -1)
        return modulate(self.norm_final(x), shift, scale)


class Backbone(nn.Module):
    """Everything but the head, which is the table of tokens if it is tied."""

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
        self.norm_f = new_norm(config)
        for table in self.modules():
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=0.02)

    def forward(
        self, x: Tensor, given: Tensor, states: list[State] | None = None
    ) -> Tensor:
        """The output for tokens x (b n d), or with states for one (b d) of classes."""
        conditions, r = [given], None
        if self.groups:
            vectors = self.adaln_group(given).unflatten(-1, (-1, x.shape[-1]))
            # layer i uses group i modulo their number
            conditions = vectors.chunk(self.groups, 1)
        for i, layer in enumerate(self.layers):
            state = None if states is None else states[i]
            x, r = layer(x, r, conditions[i % len(conditions)], state)
        h = self.norm_f(r + x).type_as(x)
        return self.final_layer(h, given if states is not None else given[:, None])


class Aim(nn.Module):
    """The model under the original's names, initialised as the original is.

    Of the dropouts AiM uses only those of tokens and of the label.
    """

    def __init__(self, config: AimConfig, dropouts: Dropouts | None = None):
        super().__init__()
        self.config, self.dropouts = config, dropouts or Dropouts()
        self.backbone = Backbone(config, self.dropouts)
        if not config.tied:
            self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)

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

    def begin(self, labels: Tensor, count: int) -> tuple[Tensor, tuple]:
        """The embedded classes (b d), and the memory of a run: these, and states.

        The size of a state does not depend on the number of tokens.
        """
        given = self.backbone.cls_embed(labels)
        layers = self.backbone.layers
        return given, (given, [e.mixer.new_state(len(labels)) for e in layers])

    def read(self, x: Tensor, i: int, state: tuple) -> Tensor:
        """Logits (b 1 v) of token i, from one more embedded token x (b d).

        The modulations are computed anew in every step, as the original does.
        """
        given, states = state
        return self.answer(self.backbone(x, given, states))[:, None]

    def embed(self, tokens: Tensor, i: int, positions: str = "released") -> Tensor:
        """Tokens (b 1), each token i of its image, as `read` takes them."""
        rows = torch.full_like(tokens, i + POSITIONS[positions])
        return self.backbone.embeddings(tokens, rows)[:, 0]

    def answer(self, x: Tensor) -> Tensor:
        words = self.backbone.embeddings.word_embeddings
        return F.linear(x, getattr(self, "lm_head", words).weight).float()


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


def train(args: argparse.Namespace) -> nn.Module:
    # with the position rows that sampling uses; the released AiM was trained otherwise
    loss = partial(training_loss, positions="released")
    return train_raster(Aim, "aim-mnist", loss, args)
