"""Model configurations as frozen dataclasses, and the named presets.

`from_upstream` takes the constructor arguments of the original PyTorch code, so that
the `config` of a golden case or of a training script can be passed as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from minigen.errors import ConfigError

# constructor arguments of the originals that change training only, never an array's
# shape or a forward pass in evaluation mode: they are accepted and change nothing here
_ARPG_TRAINING = {
    "initializer_range", "token_dropout_p", "attn_dropout_p", "resid_dropout_p",
    "ffn_dropout_p", "drop_path_rate", "class_dropout_prob",
}  # fmt: skip
_GPT_TRAINING = {
    "initializer_range", "token_dropout_p", "attn_dropout_p", "resid_dropout_p",
    "ffn_dropout_p", "drop_path_rate", "model_type", "max_batch_size", "max_seq_len",
}  # fmt: skip
_MIXER_NAMES = {
    "d_model": "width", "d_state": "state_size", "d_conv": "window",
    "expand": "expand", "bias": "bias", "conv_bias": "conv_bias",
}  # fmt: skip
_MIXER_SPEED = {"chunk_size"}
_AIM_TRAINING = {
    "residual_in_fp32", "fused_add_norm", "pad_vocab_size_multiple", "attn_cfg",
    "token_drop", "mixer_drop", "mlp_drop", "chunk_size",
}  # fmt: skip
# what every released AiM has, and what nothing here could do otherwise
_AIM_FIXED = {"rms_norm": True, "tie_embeddings": True, "attn_layer_idx": []}
_MAR_TRAINING = {
    "mask_ratio_min", "label_drop_prob", "attn_dropout", "proj_dropout",
    "grad_checkpointing", "diffloss_d", "diffloss_w", "num_sampling_steps",
    "diffusion_batch_mul",
}  # fmt: skip
_MAR_NAMES = {
    "encoder_embed_dim": "encoder_width", "encoder_depth": "encoder_layers",
    "encoder_num_heads": "encoder_heads", "decoder_embed_dim": "width",
    "decoder_depth": "decoder_layers", "decoder_num_heads": "decoder_heads",
    "mlp_ratio": "ratio", "vae_embed_dim": "channels", "patch_size": "patch",
    "class_num": "classes", "buffer_size": "buffer", "tokens": "tokens",
}  # fmt: skip
_MAR_FACTORIES = {
    "mar_base": (768, 14, 12), "mar_large": (1024, 18, 16), "mar_huge": (1280, 22, 16),
}  # fmt: skip
# what two versions of ARINAR's code do differently, though no weight shows it
_INNER_HEADS = {"v1": 4, "head": 16}
_TEMPERATURE_RULES = {"v1": "std / T", "head": "std * T"}
_VQ_TRAINING = {"commit_loss_beta", "entropy_loss_ratio", "dropout_p", "num_res_blocks"}
_KL_TRAINING = {"dropout", "ckpt_path"}


def _positive(where, name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(
            f"{where}.{name} is {value!r}; expected a whole number above 0"
        )


def _check_heads(config):
    if config.width % config.heads or config.head_size % 4:
        raise ConfigError(
            f"{type(config).__name__}.width {config.width} over {config.heads} heads "
            "gives no head size divisible by 4, which two-dimensional rotation needs"
        )


@dataclass(frozen=True)
class ArpgConfig:
    """ARPG: a self-decoder over content and a cross-decoder over positions.

    Source: arXiv 2503.10568, section 3; hp-l33/ARPG models/arpg.py::ModelArgs.

    >>> ArpgConfig().hidden  # int(2 * 4 * 1024 / 3) = 2730, rounded up to 11 * 256
    2816
    """

    width: int = 1024
    layers: int = 24
    heads: int = 16
    vocabulary: int = 16384
    classes: int = 1000
    tokens: int = 256
    multiple_of: int = 256
    hidden_multiplier: float | None = None
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    def __post_init__(self):
        for name in ("width", "layers", "heads", "vocabulary", "classes", "tokens",
                     "multiple_of"):  # fmt: skip
            _positive("ArpgConfig", name, getattr(self, name))
        if self.layers < 2:
            raise ConfigError(
                f"ArpgConfig.layers is {self.layers}; half of them form each decoder, "
                "so at least 2 are needed"
            )
        _check_heads(self)

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    @property
    def half(self) -> int:
        """Layers of each of the two decoders (an odd `layers` loses one)."""
        return self.layers // 2

    @property
    def side(self) -> int:
        """Rows and columns of the token grid the rotary table is made for."""
        return math.isqrt(self.tokens)

    @property
    def hidden(self) -> int:
        """Width of the SwiGLU: truncated, then rounded up to `multiple_of`."""
        return _hidden(self)

    @property
    def mask_id(self) -> int:
        """Row of the embedding table that every query starts from."""
        return self.vocabulary

    @property
    def no_class_id(self) -> int:
        """Row of the embedding table that stands for "no condition"."""
        return self.vocabulary + self.classes + 1

    def class_id(self, label: int) -> int:
        """Row of the embedding table of class `label`."""
        return self.vocabulary + 1 + label

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> ArpgConfig:
        """Build from the original's constructor arguments (`dim`, `n_layer`, ...)."""
        names = {
            "dim": "width", "n_layer": "layers", "n_head": "heads",
            "vocab_size": "vocabulary", "num_classes": "classes",
            "block_size": "tokens", "multiple_of": "multiple_of",
            "ffn_dim_multiplier": "hidden_multiplier",
            "rope_base": "rope_base", "norm_eps": "norm_eps",
        }  # fmt: skip
        return _from_upstream(cls, arguments, names, _ARPG_TRAINING, PRESETS)


@dataclass(frozen=True)
class GptConfig:
    """LlamaGen's GPT: one causal decoder, one token a step in raster order.

    key_heads: heads of keys and values, None for as many as heads; no_class: whether
    the table of classes ends with a row for "no condition", which guidance needs.
    Source: arXiv 2406.06525; FoundationVision/LlamaGen
    autoregressive/models/gpt.py::ModelArgs.

    >>> GptConfig(heads=12, key_heads=4).shared  # heads that share one of keys
    3
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    key_heads: int | None = None
    vocabulary: int = 16384
    classes: int = 1000
    no_class: bool = True
    tokens: int = 256
    multiple_of: int = 256
    hidden_multiplier: float | None = None
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    def __post_init__(self):
        if self.key_heads is None:
            object.__setattr__(self, "key_heads", self.heads)
        for name in ("width", "layers", "heads", "key_heads", "vocabulary", "classes",
                     "tokens", "multiple_of"):  # fmt: skip
            _positive("GptConfig", name, getattr(self, name))
        _check_heads(self)
        if self.heads % self.key_heads:
            raise ConfigError(
                f"GptConfig.heads is {self.heads}, key_heads {self.key_heads}; heads "
                "share those of keys evenly, so key_heads must divide heads"
            )
        if self.side**2 != self.tokens:
            raise ConfigError(
                f"GptConfig.tokens is {self.tokens}; expected a square number, such as "
                f"{self.side**2}: the grid is square"
            )

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    @property
    def key_width(self) -> int:
        """Width of all heads of keys together."""
        return self.key_heads * self.head_size

    @property
    def shared(self) -> int:
        """Neighbouring heads of queries that share one head of keys and values."""
        return self.heads // self.key_heads

    @property
    def side(self) -> int:
        """Rows and columns of the token grid the rotary table is made for."""
        return math.isqrt(self.tokens)

    @property
    def hidden(self) -> int:
        """Width of the SwiGLU: truncated, then rounded up to `multiple_of`."""
        return _hidden(self)

    @property
    def no_class_id(self) -> int:
        """Row of the table of classes that stands for "no condition"."""
        return self.classes

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> GptConfig:
        """Build from the original's constructor arguments (`dim`, `n_layer`, ...)."""
        arguments = dict(arguments)
        # upstream adds the row of no class where classes are ever dropped
        dropped = arguments.pop("class_dropout_prob", 0.1)
        if arguments.pop("cls_token_num", 1) != 1:
            raise ConfigError("cls_token_num is not 1; a class is one token")
        names = {
            "dim": "width", "n_layer": "layers", "n_head": "heads",
            "n_kv_head": "key_heads", "vocab_size": "vocabulary",
            "num_classes": "classes", "block_size": "tokens",
            "multiple_of": "multiple_of", "ffn_dim_multiplier": "hidden_multiplier",
            "rope_base": "rope_base", "norm_eps": "norm_eps",
        }  # fmt: skip
        config = _from_upstream(cls, arguments, names, _GPT_TRAINING, PRESETS)
        return replace(config, no_class=dropped > 0)


@dataclass(frozen=True)
class VqConfig:
    """The VQ tokenizer: convolutional encoder, nearest code, convolutional decoder.

    Source: FoundationVision/LlamaGen tokenizer/tokenizer_image/vq_model.py::ModelArgs.

    >>> VqConfig().factor, VqConfig().widths  # five levels halve the image four times
    (16, (128, 128, 256, 256, 512))
    """

    base: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    latent: int = 256
    codes: int = 16384
    code_size: int = 8
    unit_codes: bool = True

    def __post_init__(self):
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        for name in ("base", "latent", "codes", "code_size"):
            _positive("VqConfig", name, getattr(self, name))
        for m in self.multipliers:
            _positive("VqConfig", "multipliers", m)
        if not self.multipliers or self.base % 32:
            raise ConfigError(
                f"VqConfig.base is {self.base} with multipliers {self.multipliers}; "
                "widths must be multiples of 32, the number of groups in a group norm"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each level, finest first."""
        return tuple(self.base * m for m in self.multipliers)

    @property
    def levels(self) -> int:
        return len(self.multipliers)

    @property
    def factor(self) -> int:
        """Pixels per token along each side."""
        return 2 ** (self.levels - 1)

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> VqConfig:
        """Build from the original's constructor arguments (`encoder_ch_mult`, ...)."""
        arguments = dict(arguments)
        encoder = arguments.get("encoder_ch_mult", [1, 1, 2, 2, 4])
        decoder = arguments.pop("decoder_ch_mult", encoder)
        if list(encoder) != list(decoder):
            raise ConfigError(
                f"encoder_ch_mult {list(encoder)} and decoder_ch_mult {list(decoder)} "
                "differ; every released tokenizer has the same in both halves"
            )
        names = {
            "ch": "base", "encoder_ch_mult": "multipliers", "z_channels": "latent",
            "codebook_size": "codes", "codebook_embed_dim": "code_size",
            "codebook_l2_norm": "unit_codes",
        }  # fmt: skip
        return _from_upstream(cls, arguments, names, _VQ_TRAINING, PRESETS)


@dataclass(frozen=True)
class KlConfig:
    """The KL tokenizer: an image as a grid of Gaussians, and back from their samples.

    blocks: residual blocks of a level of the encoder, one fewer than of the decoder's;
    channels: of a latent; attention, decoder_attention: the levels, 0 the finest, where
    it follows the blocks, beside the middle, which always has it; variational: False
    for an encoder that gives means alone; scale: what latents are multiplied by for a
    generator, so that their deviation is about 1.

    Source: arXiv 2112.10752 (latent diffusion), section 3.1; LTH14/mar
    models/vae.py::AutoencoderKL.

    >>> KlConfig().factor, KlConfig().widths  # five levels halve the image four times
    (16, (128, 128, 256, 256, 512))
    """

    base: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    channels: int = 16
    attention: tuple[int, ...] = (4,)
    decoder_attention: tuple[int, ...] = ()
    variational: bool = True
    scale: float = 0.2325

    def __post_init__(self):
        for name in ("multipliers", "attention", "decoder_attention"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("base", "blocks", "channels"):
            _positive("KlConfig", name, getattr(self, name))
        for m in self.multipliers:
            _positive("KlConfig", "multipliers", m)
        if not self.multipliers or self.base % 32:
            raise ConfigError(
                f"KlConfig.base is {self.base} with multipliers {self.multipliers}; "
                "widths must be multiples of 32, the number of groups in a group norm"
            )
        if not {*self.attention, *self.decoder_attention} <= set(range(self.levels)):
            raise ConfigError(
                f"KlConfig has attention at the levels {self.attention} and "
                f"{self.decoder_attention}; its levels are 0 .. {self.levels - 1}"
            )
        if not 0 < self.scale < math.inf:
            raise ConfigError(
                f"KlConfig.scale is {self.scale}; expected a number above 0"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each level, finest first."""
        return tuple(self.base * m for m in self.multipliers)

    @property
    def levels(self) -> int:
        return len(self.multipliers)

    @property
    def factor(self) -> int:
        """Pixels per latent along each side."""
        return 2 ** (self.levels - 1)

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> KlConfig:
        """Build from the original's constructor arguments (`ch_mult`, ...)."""
        arguments = {"ch": 128, **arguments}
        levels = len(arguments.get("ch_mult", cls.multipliers))
        side = arguments.pop("resolution", 256)
        sides = [side >> i for i in range(levels)]
        # the original's halves differ in what they do when nothing is said
        for name, otherwise in (("attention", (16,)), ("decoder_attention", ())):
            chosen = arguments.get("attn_resolutions", otherwise)
            arguments[name] = tuple(i for i, side in enumerate(sides) if side in chosen)
        arguments.pop("attn_resolutions", None)
        names = {
            "ch": "base", "ch_mult": "multipliers", "num_res_blocks": "blocks",
            "embed_dim": "channels", "use_variational": "variational",
            "attention": "attention", "decoder_attention": "decoder_attention",
        }  # fmt: skip
        return _from_upstream(cls, arguments, names, _KL_TRAINING, PRESETS)


@dataclass(frozen=True)
class Mamba1Config:
    """The mixer of Mamba-1: every channel has a state of its own.

    Source: state-spaces/mamba modules/mamba_simple.py::Mamba.

    >>> Mamba1Config(width=768).inner, Mamba1Config(width=768).rank
    (1536, 48)
    """

    width: int
    state_size: int = 16
    window: int = 4
    expand: int = 2
    bias: bool = False
    conv_bias: bool = True

    def __post_init__(self):
        for name in ("width", "state_size", "window", "expand"):
            _positive("Mamba1Config", name, getattr(self, name))

    @property
    def inner(self) -> int:
        """Channels that are scanned."""
        return self.expand * self.width

    @property
    def channels(self) -> int:
        """Channels that are convolved."""
        return self.inner

    @property
    def rank(self) -> int:
        """Numbers that the step sizes of all channels are made from."""
        return -(-self.width // 16)

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> Mamba1Config:
        """Build from the original's constructor arguments (`d_model`, ...)."""
        return _from_upstream(cls, arguments, _MIXER_NAMES, _MIXER_SPEED, {})


@dataclass(frozen=True)
class Mamba2Config:
    """The mixer of Mamba-2: the channels of a head share a rate, groups share B and C.

    normalise, norm_first: whether what was scanned is normalised, and whether that is
    before its gate or behind it.

    Source: state-spaces/mamba modules/mamba2.py::Mamba2.

    >>> Mamba2Config(width=768).heads, Mamba2Config(width=768).channels
    (24, 1792)
    """

    width: int
    state_size: int = 128
    window: int = 4
    expand: int = 2
    bias: bool = False
    conv_bias: bool = True
    head_size: int = 64
    groups: int = 1
    normalise: bool = True
    norm_first: bool = False
    scanned: int | None = None

    def __post_init__(self):
        for name in ("width", "state_size", "window", "expand", "head_size", "groups"):
            _positive("Mamba2Config", name, getattr(self, name))
        if self.inner % self.head_size or self.heads % self.groups:
            raise ConfigError(
                f"Mamba2Config scans {self.inner} channels, which do not divide into "
                f"heads of {self.head_size}, and these into {self.groups} groups"
            )

    @property
    def inner(self) -> int:
        """Channels that are scanned: `scanned`, or `expand` times the width."""
        return self.scanned or self.expand * self.width

    @property
    def heads(self) -> int:
        return self.inner // self.head_size

    @property
    def channels(self) -> int:
        """Channels that are convolved: the scanned ones, and B and C of each group."""
        return self.inner + 2 * self.groups * self.state_size

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> Mamba2Config:
        """Build from the original's constructor arguments (`d_model`, ...)."""
        names = _MIXER_NAMES | {
            "headdim": "head_size", "ngroups": "groups", "rmsnorm": "normalise",
            "norm_before_gate": "norm_first",
        }  # fmt: skip
        return _from_upstream(cls, arguments, names, _MIXER_SPEED, {})


@dataclass(frozen=True)
class AimConfig:
    """AiM: Mamba mixers over image tokens in raster order, each under adaLN.

    mixer: "mamba2", as released, or "mamba1"; state_size, head_size, groups, window,
    expand: its sizes (head_size and groups are those of Mamba-2 alone). hidden: of the
    feed-forward layers, 0 where there are none. condition_groups: projections of the
    class that the layers share in turn, 0 where each has its own.

    Source: arXiv 2408.12245; hp-l33/AiM models/stage2/config_mamba.py::MambaConfig.

    >>> AimConfig().mixing.heads, AimConfig(mixer="mamba1", state_size=16).mixing.rank
    (32, 64)
    """

    width: int = 1024
    layers: int = 48
    vocabulary: int = 16384
    classes: int = 1000
    tokens: int = 256
    mixer: str = "mamba2"
    state_size: int = 128
    head_size: int = 64
    groups: int = 1
    window: int = 4
    expand: int = 2
    hidden: int = 0
    condition_groups: int = 0

    def __post_init__(self):
        for name in ("width", "layers", "vocabulary", "classes", "tokens"):
            _positive("AimConfig", name, getattr(self, name))
        for name in ("hidden", "condition_groups"):
            _positive("AimConfig", name, getattr(self, name) or 1)
        if self.mixer not in ("mamba1", "mamba2"):
            raise ConfigError(
                f"AimConfig.mixer is {self.mixer!r}; expected mamba1 or mamba2"
            )
        # its sizes are checked where they are put together
        _ = self.mixing

    @property
    def mixing(self) -> Mamba1Config | Mamba2Config:
        """The configuration of every mixer."""
        sizes = self.width, self.state_size, self.window, self.expand
        if self.mixer == "mamba1":
            return Mamba1Config(*sizes)
        return Mamba2Config(*sizes, head_size=self.head_size, groups=self.groups)

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @property
    def factor(self) -> int:
        """Vectors a layer makes of the class: shift, scale, gate of each branch."""
        return 6 if self.hidden else 3

    @property
    def no_class_id(self) -> int:
        """Row of the class table that stands for "no condition"."""
        return self.classes

    def class_id(self, label: int) -> int:
        """Row of the class table of class `label`."""
        return label

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> AimConfig:
        """Build from the fields of the original's config.json (`d_model`, ...)."""
        arguments = dict(arguments)
        for name, value in _AIM_FIXED.items():
            if arguments.pop(name, value) != value:
                raise ConfigError(
                    f"AiM with {name} other than {value} is not supported; every "
                    "released model has it so"
                )
        mixer = dict(arguments.pop("ssm_cfg", {"layer": "Mamba2"}))
        layer = mixer.pop("layer", "Mamba1")
        if layer not in ("Mamba1", "Mamba2"):
            raise ConfigError(f"ssm_cfg has the layer {layer!r}; expected Mamba1 or 2")
        arguments |= {"mixer": layer.lower()}
        if layer == "Mamba1":
            arguments |= {"d_state": 16}
        arguments |= mixer
        if "d_intermediate" in arguments:
            # rounded up, as GatedMLP does
            arguments["d_intermediate"] = -(-arguments["d_intermediate"] // 128) * 128
        if not arguments.pop("adaln_group", False):
            arguments["num_groups"] = 0
        names = {
            "d_model": "width", "n_layer": "layers", "vocab_size": "vocabulary",
            "num_classes": "classes", "num_tokens": "tokens", "mixer": "mixer",
            "d_state": "state_size", "headdim": "head_size", "ngroups": "groups",
            "d_conv": "window", "expand": "expand", "d_intermediate": "hidden",
            "num_groups": "condition_groups",
        }  # fmt: skip
        if "num_groups" not in arguments:
            arguments["num_groups"] = 1
        return _from_upstream(cls, arguments, names, _AIM_TRAINING, PRESETS)


@dataclass(frozen=True)
class ArinarConfig:
    """ARINAR: an outer masked model of tokens, an inner one of each token's features.

    channels, patch: of the latents, and of the square of them that is a token; buffer:
    positions that hold the class; width, encoder_width: of the decoder, of the encoder.
    mixtures: components for each group of features; group: features of a group;
    inner_schedule: how temperature and guidance change within a token (constant,
    linear, cosine); flow: whether what the head models goes through a flow.

    behaviour: "v1" for the released weights, "head" for what the code became later. No
    weight tells them apart: it decides the heads of the inner attention, and whether a
    temperature above 1 narrows ("v1") or widens. A wrong one gives wrong pictures.

    Source: arXiv 2503.02883; Qinyu-Allen-Zhao/Arinar backbone/mar.py::MAR.

    >>> ArinarConfig().features, ArinarConfig().inner_heads, ArinarConfig().side
    (16, 4, 16)
    """

    width: int = 768
    encoder_width: int = 768
    encoder_layers: int = 14
    decoder_layers: int = 14
    encoder_heads: int = 12
    decoder_heads: int = 12
    ratio: int = 4
    buffer: int = 64
    classes: int = 1000
    tokens: int = 256
    channels: int = 16
    patch: int = 1
    mixtures: int = 4
    inner_width: int = 768
    inner_layers: int = 1
    group: int = 1
    inner_schedule: str = "constant"
    flow: bool = False
    behaviour: str = "v1"

    def __post_init__(self):
        for name in ("width", "encoder_width", "encoder_layers", "decoder_layers",
                     "encoder_heads", "decoder_heads", "ratio", "buffer", "classes",
                     "tokens", "channels", "patch", "mixtures", "inner_width",
                     "inner_layers", "group"):  # fmt: skip
            _positive("ArinarConfig", name, getattr(self, name))
        for name, known in (
            ("behaviour", _INNER_HEADS),
            ("inner_schedule", ("constant", "linear", "cosine")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"ArinarConfig.{name} is {getattr(self, name)!r}; expected "
                    + " or ".join(known)
                )
        for width, heads in (
            ("width", "decoder_heads"),
            ("encoder_width", "encoder_heads"),
            ("inner_width", "inner_heads"),
        ):
            if getattr(self, width) % getattr(self, heads):
                raise ConfigError(
                    f"ArinarConfig.{width} {getattr(self, width)} does not divide into "
                    f"{getattr(self, heads)} heads ({heads})"
                )
        if self.features % self.group:
            raise ConfigError(
                f"ArinarConfig.group is {self.group}; it must divide the "
                f"{self.features} features of a token"
            )

    @property
    def features(self) -> int:
        """Numbers that a token consists of."""
        return self.channels * self.patch**2

    @property
    def groups(self) -> int:
        """Steps in which the features of a token are drawn."""
        return self.features // self.group

    @property
    def inner_heads(self) -> int:
        """Heads of the inner model's attention."""
        return _INNER_HEADS[self.behaviour]

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> ArinarConfig:
        """Build from the original's constructor arguments (`img_size`, ...).

        upstream_version: "v1" or "head", the version of the code they are for; or, if
        it is left out, that of the arguments that only "head" has.
        """
        arguments = dict(arguments)
        version = "head" if "head_type" in arguments else "v1"
        version = arguments.pop("upstream_version", version)
        width = 1024 if version == "head" else 768
        arguments = {"inner_ar_width": width} | arguments | {"behaviour": version}
        _expect_fixed(arguments, {"head_type": "ar_gmm", "norm_eps": 1e-6})
        # these follow from the version
        heads, rule = _INNER_HEADS.get(version), _TEMPERATURE_RULES.get(version)
        _expect_fixed(arguments, {"inner_num_heads": heads, "temperature_rule": rule})
        arguments = _mar_sizes(arguments)
        patch = arguments.get("patch_size", 1)
        side = arguments.pop("img_size", 256) // arguments.pop("vae_stride", 16)
        arguments |= {"tokens": (side // patch) ** 2}
        names = _MAR_NAMES | {
            "num_gaussians": "mixtures", "inner_ar_width": "inner_width",
            "inner_ar_depth": "inner_layers", "bilevel_schedule": "inner_schedule",
            "feature_group": "group", "use_nf": "flow", "behaviour": "behaviour",
        }  # fmt: skip
        return _from_upstream(cls, arguments, names, _MAR_TRAINING, PRESETS)


@dataclass(frozen=True)
class MarConfig:
    """MAR: the outer masked model of ARINAR, and a diffusion head that draws tokens.

    channels, patch: of the latents, and of the square of them that is a token; buffer:
    positions that hold the class; width, encoder_width: of the decoder, of the encoder;
    head_width, head_layers: of the network that removes noise from a token;
    noise_steps: how many of its 1000 steps a token is drawn in.

    Source: arXiv 2406.11838; LTH14/mar models/mar.py::MAR, models/diffloss.py.

    >>> MarConfig().features, MarConfig().side
    (16, 16)
    """

    width: int = 768
    encoder_width: int = 768
    encoder_layers: int = 12
    decoder_layers: int = 12
    encoder_heads: int = 12
    decoder_heads: int = 12
    ratio: int = 4
    buffer: int = 64
    classes: int = 1000
    tokens: int = 256
    channels: int = 16
    patch: int = 1
    head_width: int = 1024
    head_layers: int = 6
    noise_steps: int = 100

    def __post_init__(self):
        for name, value in vars(self).items():
            _positive("MarConfig", name, value)
        for width, heads in (
            ("width", "decoder_heads"),
            ("encoder_width", "encoder_heads"),
        ):
            if getattr(self, width) % getattr(self, heads):
                raise ConfigError(
                    f"MarConfig.{width} {getattr(self, width)} does not divide into "
                    f"{getattr(self, heads)} heads ({heads})"
                )
        if not 2 <= self.noise_steps <= 1000:
            raise ConfigError(
                f"MarConfig.noise_steps is {self.noise_steps}; the head was trained on "
                "1000 steps, so expected 2 .. 1000"
            )

    @property
    def features(self) -> int:
        """Numbers that a token consists of."""
        return self.channels * self.patch**2

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @classmethod
    def from_upstream(cls, arguments: Mapping) -> MarConfig:
        """Build from the original's constructor arguments (`img_size`, ...)."""
        arguments = dict(arguments)
        _expect_fixed(arguments, {"norm_eps": 1e-6})
        patch = arguments.get("patch_size", 1)
        side = arguments.pop("img_size", 256) // arguments.pop("vae_stride", 16)
        arguments |= {"tokens": (side // patch) ** 2}
        # a text there: it may also ask for other ways to take fewer steps
        arguments |= {"noise_steps": int(arguments.pop("num_sampling_steps", 100))}
        names = _MAR_NAMES | {
            "diffloss_w": "head_width", "diffloss_d": "head_layers",
            "noise_steps": "noise_steps",
        }  # fmt: skip
        return _from_upstream(cls, arguments, names, _MAR_TRAINING, PRESETS)


@dataclass(frozen=True)
class JudgeConfig:
    """The classifier that judges the small models: widths at 32, 16, 8, 4 pixels."""

    widths: tuple[int, ...] = (32, 64, 96, 128)
    features: int = 64
    classes: int = 10

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))


PRESETS = {
    "arpg-l": ArpgConfig(),
    "arpg-xl": ArpgConfig(width=1280, layers=36, heads=20),
    "arpg-xxl": ArpgConfig(width=1536, layers=48, heads=24),
    "gpt-b": GptConfig(),
    "gpt-l": GptConfig(width=1024, layers=24, heads=16),
    "gpt-xl": GptConfig(width=1280, layers=36, heads=20),
    "gpt-xxl": GptConfig(width=1536, layers=48, heads=24),
    "aim-b": AimConfig(width=768, layers=24),
    "aim-l": AimConfig(condition_groups=4),
    "aim-xl": AimConfig(width=1536, condition_groups=4),
    # inferred: announced with 1.3 billion parameters, never released
    "aim-1b": AimConfig(width=2048, condition_groups=4),
    "arinar-b": ArinarConfig(),
    "arinar-l": ArinarConfig(
        width=1024,
        encoder_width=1024,
        encoder_layers=18,
        decoder_layers=18,
        encoder_heads=16,
        decoder_heads=16,
    ),
    "arinar-h": ArinarConfig(
        width=1280,
        encoder_width=1280,
        encoder_layers=22,
        decoder_layers=22,
        encoder_heads=16,
        decoder_heads=16,
    ),
    "mar-b": MarConfig(),
    "mar-l": MarConfig(
        width=1024,
        encoder_width=1024,
        encoder_layers=16,
        decoder_layers=16,
        encoder_heads=16,
        decoder_heads=16,
        head_width=1280,
        head_layers=8,
    ),
    "mar-h": MarConfig(
        width=1280,
        encoder_width=1280,
        encoder_layers=20,
        decoder_layers=20,
        encoder_heads=16,
        decoder_heads=16,
        head_width=1536,
        head_layers=12,
    ),
    "vq-16": VqConfig(),
    "vq-8": VqConfig(multipliers=(1, 2, 2, 4)),
    "kl-16": KlConfig(),
    # the small models that ship, trained on MNIST padded to 32 x 32
    "arpg-mnist": ArpgConfig(
        width=128,
        layers=6,
        heads=4,
        vocabulary=64,
        classes=10,
        tokens=64,
        multiple_of=32,
    ),
    "gpt-mnist": GptConfig(
        width=128,
        layers=6,
        heads=4,
        vocabulary=64,
        classes=10,
        tokens=64,
        multiple_of=32,
    ),
    "aim-mnist": AimConfig(
        width=128,
        layers=7,
        vocabulary=64,
        classes=10,
        tokens=64,
        state_size=32,
        head_size=32,
    ),
    "vq-mnist": VqConfig(
        base=32, multipliers=(1, 1, 2), latent=32, codes=64, code_size=8
    ),
    "kl-mnist": KlConfig(
        base=32, multipliers=(1, 1, 2), channels=4, attention=(2,), scale=1.0
    ),
    "judge-mnist": JudgeConfig(),
}
"""Every named configuration, by the name `minigen models` prints."""

FAMILIES = {
    "arpg": ArpgConfig,
    "llamagen": GptConfig,
    "aim": AimConfig,
    "arinar": ArinarConfig,
    "mar": MarConfig,
    "vq": VqConfig,
    "kl": KlConfig,
    "judge": JudgeConfig,
}
"""The configuration class of each model family."""


def to_dict(config) -> dict:
    """Return `config` as a JSON-ready dictionary with its family beside the fields."""
    family = next(name for name, cls in FAMILIES.items() if type(config) is cls)
    return {"family": family, **asdict(config)}


def from_dict(values: Mapping):
    """Rebuild a configuration from what `to_dict` returned."""
    values = dict(values)
    family = values.pop("family", None)
    if family not in FAMILIES:
        raise ConfigError(
            f"the family {family!r} is not known; known families: {', '.join(FAMILIES)}"
        )
    try:
        return FAMILIES[family](**values)
    except TypeError as error:
        raise ConfigError(f"the configuration of family {family!r}: {error}") from None


def _mar_sizes(arguments):
    # a factory of MAR's sets sizes that the arguments may set too
    factory = arguments.pop("factory", None)
    depth = arguments.pop("enc_dec_depth", -1)
    if factory is None:
        return arguments
    if factory not in _MAR_FACTORIES:
        raise ConfigError(
            f"the factory {factory!r} is not known; known: {', '.join(_MAR_FACTORIES)}"
        )
    width, layers, heads = _MAR_FACTORIES[factory]
    sizes = {}
    for half in ("encoder", "decoder"):
        sizes |= {f"{half}_embed_dim": width, f"{half}_num_heads": heads}
        sizes |= {f"{half}_depth": depth if depth > 0 else layers}
    return sizes | arguments


def _expect_fixed(arguments, fixed):
    # take out arguments that can have one value only
    for name, value in fixed.items():
        if arguments.pop(name, value) != value:
            raise ConfigError(f"{name} is not {value!r}, which it is in every model")


def _hidden(config):
    h = int(2 * (4 * config.width) / 3)
    if config.hidden_multiplier is not None:
        h = int(config.hidden_multiplier * h)
    return -(-h // config.multiple_of) * config.multiple_of


def _from_upstream(cls, arguments, names, ignored, presets):
    arguments = dict(arguments)
    values = {}
    if "name" in arguments:
        name = str(arguments.pop("name")).lower()
        if not isinstance(presets.get(name), cls):
            raise ConfigError(
                f"{name!r} is not a preset of {cls.__name__}; known: "
                + ", ".join(n for n, c in presets.items() if isinstance(c, cls))
            )
        values.update(asdict(presets[name]))
    unknown = set(arguments) - set(names) - ignored
    if unknown:
        raise ConfigError(
            f"{cls.__name__}.from_upstream does not know {sorted(unknown)}; it takes "
            f"{sorted(names)}"
        )
    values.update({names[k]: v for k, v in arguments.items() if k in names})
    return cls(**values)
