"""Every named configuration, by the name `minigen models` prints."""

from __future__ import annotations

from typing import TypeAlias

from minigen.config.aim import AimConfig
from minigen.config.arinar import ArinarConfig
from minigen.config.arpg import ArpgConfig
from minigen.config.judge import JudgeConfig
from minigen.config.kl import KlConfig
from minigen.config.llamagen import GptConfig
from minigen.config.mar import MarConfig
from minigen.config.vq import VqConfig

GeneratorConfig: TypeAlias = (
    ArpgConfig | GptConfig | AimConfig | ArinarConfig | MarConfig
)
TokenizerConfig: TypeAlias = VqConfig | KlConfig
Config: TypeAlias = GeneratorConfig | TokenizerConfig | JudgeConfig

PRESETS: dict[str, Config] = {
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
    "arinar-mnist": ArinarConfig(
        width=128,
        encoder_width=128,
        encoder_layers=3,
        decoder_layers=3,
        encoder_heads=4,
        decoder_heads=4,
        buffer=8,
        classes=10,
        tokens=64,
        channels=4,
        inner_width=128,
        # here a temperature does what it does in all other models
        behaviour="head",
    ),
    "mar-mnist": MarConfig(
        width=128,
        encoder_width=128,
        encoder_layers=3,
        decoder_layers=3,
        encoder_heads=4,
        decoder_heads=4,
        buffer=8,
        classes=10,
        tokens=64,
        channels=4,
        head_width=128,
        head_layers=3,
        noise_steps=50,
    ),
    "kl-mnist": KlConfig(
        base=32, multipliers=(1, 1, 2), channels=4, attention=(2,), scale=1.0072
    ),
    "judge-mnist": JudgeConfig(),
}
