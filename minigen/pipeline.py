"""A generator, its tokenizer and a backend: labels in, images out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from minigen import backends, checks, choosing, flags, options, plans, recorded
from minigen import sample as loop
from minigen.checkpoints import Model, load_model
from minigen.defaults import STEPS, settle
from minigen.errors import BackendError, InputError
from minigen.families import (
    FAMILIES,
    Family,
    GeneratorConfig,
    TokenizerConfig,
    family_of,
    module_of,
)
from minigen.finding import File, check_generator, find, tokenizer_of
from minigen.images import check_images

GREY = 127
"""The grey of a picture where the token is unknown."""

BATCH = 8
"""Images drawn together by default: enough to fill a kernel, with little memory."""

TOGETHER = 8
"""Images decoded to pixels together on a device; on the CPU it is one at a time."""


Labels: TypeAlias = int | Sequence[int] | NDArray[np.integer[Any]]
"""Class numbers, one for each image, -1 for no class. A single one is one image."""


@dataclass(frozen=True)
class Pipeline:
    """A generator with the tokenizer that turns its tokens into pixels.

    generator, tokenizer: a Model (configuration, weights, hash), the weights on the
    device of the backend; backend: the name of the op table `ops`; recorded: runs that
    a device replays (`minigen.recorded`). Made by `load` or `assemble`. Two pipelines
    are equal if their models are equal and their backends are the same.
    """

    generator: Model
    tokenizer: Model
    backend: str
    ops: SimpleNamespace = field(repr=False, compare=False)
    recorded: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the two models; the op table is made again.

        Raises BackendError if the weights are on a device.
        """
        if self.ops.device is not None:
            raise BackendError(
                f"a pipeline on {self.backend} cannot be pickled or copied, since its "
                "weights lie on a device; call minigen.load where it is needed"
            )
        # functions that somebody put into the table are kept
        ours = vars(backends.table(self.backend))
        own = {
            name: function
            for name, function in vars(self.ops).items()
            if inspect.unwrap(function) is not inspect.unwrap(ours.get(name))
        }
        return _restored, (self.generator, self.tokenizer, self.backend, own)

    @property
    def config(self) -> GeneratorConfig:
        """The sizes of the generator."""
        return cast(GeneratorConfig, self.generator.config)

    @property
    def tokenizer_config(self) -> TokenizerConfig:
        """The sizes of the tokenizer."""
        return cast(TokenizerConfig, self.tokenizer.config)

    @property
    def kind(self) -> ModuleType:
        """The module of its tokens: `models.codes` (numbers) or `models.masked`."""
        return loop.kind_of(self.config)

    @property
    def hash(self) -> str:
        """The hash of the generator's weights."""
        return self.generator.hash

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the token grid the generator was trained on."""
        return self.config.side, self.config.side

    def plan(
        self,
        order: str | Sequence[int] | None = None,
        schedule: str | Sequence[int] | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> plans.Plan:
        """Return the plan that `sample` and `steps` run. See `minigen.plan`.

        steps: by default 16. The schedule "one" needs a step for each token, and cannot
        be asked for fewer. Raises InputError, also for an order, a schedule or a grid
        that the model cannot draw in.
        """
        chosen = self.settle(order, schedule)
        order, schedule = chosen["order"], chosen["schedule"]
        steps = options.check("steps", steps)
        plan = plans.plan(self.grid, order, schedule, steps or STEPS, seed=seed)
        module_of(self.config).check_plan(self.config, plan)
        if steps is not None and steps < len(plan.groups):
            raise InputError(
                f"steps {steps} is fewer than the {len(plan.groups)} that the schedule "
                f"{checks.shown(schedule)} takes; leave steps out, or choose another "
                "schedule, if this model can draw several tokens a step"
            )
        return plan

    def choose(
        self, plan: plans.Plan, images: int, batch: int = BATCH
    ) -> tuple[str, str]:
        """Return which backend `auto` is for so many images of a plan, and why.

        batch: images drawn together. See `minigen.choosing`.
        """
        configs = self.config, self.tokenizer_config
        most = choosing.most(*configs, plan.counts, batch, asked=plan.asked)
        backend = "numpy" if images <= most else backends.fastest()
        return backend, choosing.reason(backend, most)

    def settle(
        self,
        order: str | Sequence[int] | None = None,
        schedule: str | Sequence[int] | None = None,
        guidance: float | None = None,
        guidance_schedule: str | None = None,
        temperature: float | None = None,
        reading: str | None = None,
    ) -> dict[str, Any]:
        """Return these settings by name, with the model's defaults in place of None.

        The defaults are in `minigen.defaults`.
        """
        return settle(
            self.generator.family, self.generator.name, order=order, schedule=schedule,
            guidance=guidance, guidance_schedule=guidance_schedule,
            temperature=temperature, reading=reading,
        )  # fmt: skip

    def options(
        self,
        guidance: float | None = None,
        temperature: float | None = None,
        guidance_schedule: str | None = None,
        guided_steps: int | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
        positions: str = "released",
        guided_draw: str = "candidates",
        confidence_noise: float = 0.0,
        reading: str | None = None,
        known_reading: str = "causal",
    ) -> loop.Options:
        """Return the options of a draw, with the model's defaults in place of None.

        Arguments as for `minigen.Options`. Raises InputError.
        """
        chosen = self.settle(
            guidance=guidance, temperature=temperature,
            guidance_schedule=guidance_schedule, reading=reading,
        )  # fmt: skip
        return loop.Options(
            chosen["guidance"], chosen["guidance_schedule"], guided_steps,
            chosen["temperature"], top_k, top_p, positions, guided_draw,
            confidence_noise, chosen["reading"], known_reading,
        )  # fmt: skip

    def steps(
        self,
        labels: Labels,
        seed: int = 0,
        steps: int | None = None,
        order: str | Sequence[int] | None = None,
        schedule: str | Sequence[int] | None = None,
        *,
        guidance: float | None = None,
        temperature: float | None = None,
        first: int = 0,
        guidance_schedule: str | None = None,
        guided_steps: int | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
        positions: str = "released",
        guided_draw: str = "candidates",
        confidence_noise: float = 0.0,
        reading: str | None = None,
        known_reading: str = "causal",
    ) -> Iterator[loop.Step]:
        """Draw one image for each label and yield every decoding step as a `Step`.

        labels: b class numbers, -1 for no class; seed: 0 .. 2**64 - 1; steps, order,
        schedule: which positions are decoded when (`minigen.plan`); guidance and the
        other options: how a token is drawn (`minigen.Options`). None is the model's
        default (`settle`). first: the number of the first image. An image is a function
        of the seed and its number, alone or in any batch. The arrays of a Step are
        copies: you may change them. Raises InputError at once.
        """
        how = self.options(
            guidance, temperature, guidance_schedule, guided_steps, top_k, top_p,
            positions, guided_draw, confidence_noise, reading, known_reading,
        )  # fmt: skip
        model = self.ops, self.generator.weights, self.config
        plan = self.plan(order, schedule, steps, seed)
        return loop.steps(*model, plan, labels, seed, how, first=first)

    def sample(
        self,
        labels: Labels,
        seed: int = 0,
        steps: int | None = None,
        order: str | Sequence[int] | None = None,
        schedule: str | Sequence[int] | None = None,
        *,
        first: int = 0,
        batch: int = BATCH,
        guidance: float | None = None,
        temperature: float | None = None,
        guidance_schedule: str | None = None,
        guided_steps: int | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
        positions: str = "released",
        guided_draw: str = "candidates",
        confidence_noise: float = 0.0,
        reading: str | None = None,
        known_reading: str = "causal",
    ) -> NDArray[np.uint8]:
        """Draw one image for each of b labels; return uint8 (b y x c), c is RGB.

        Arguments as for `steps`. batch: how many images are drawn together; it changes
        time and memory, never an image. Raises InputError.

        On a device, a run of the same shapes as one before is replayed.
        """
        labels = checks.labels(labels, self.config.classes)
        first, batch = checks.images(first, len(labels)), options.check("batch", batch)
        plan = self.plan(order, schedule, steps, seed)
        how = self.options(
            guidance, temperature, guidance_schedule, guided_steps, top_k, top_p,
            positions, guided_draw, confidence_noise, reading, known_reading,
        )  # fmt: skip
        images = []
        for start in range(0, len(labels), batch):
            part = labels[start : start + batch]
            images.append(recorded.draw(self, plan, part, seed, how, first + start))
        return np.concatenate(images)

    def decode(self, tokens: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn tokens (b y x), or latents (b y x f), into images, uint8 (b y x c).

        Raises ShapeError, InputError, and NotFiniteError.
        """
        config = self.tokenizer_config
        tokens = module_of(config).check_tokens(config, tokens)
        noted = flags.of_run(self.ops, 0)
        with noted.at(0):
            images = self.images(self.ops.put(tokens))
        return self.download(images, noted)

    def images(self, tokens: Any) -> list[Any]:
        """Return uint8 images (b y x c) on the device, in parts of a few images.

        tokens (b y x): on the device. In parts, since the activations of a full-size
        decoder are large.
        """
        together = 1 if self.ops.device is None else TOGETHER
        w, config = self.tokenizer.weights, self.tokenizer_config
        parts = (tokens[i : i + together] for i in range(0, tokens.shape[0], together))
        to_images = module_of(config).to_images
        return [to_images(self.ops, w, config, part) for part in parts]

    def download(self, images: list[Any], noted: flags.Flags) -> NDArray[np.uint8]:
        """Return the parts from `images` as one array of the host.

        Raises the errors that were noted while they were made.
        """
        pixels = np.concatenate([self.ops.get(part) for part in images])
        noted.expect_clear()
        return pixels

    def encode(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """Turn images, uint8 (b y x c), into tokens (b y x), or latents (b y x f).

        A token stands for a square of pixels; the sides of an image must be multiples
        of its side. Raises ShapeError.
        """
        w, config = self.tokenizer.weights, self.tokenizer_config
        images = check_images(images, config.factor)
        from_images = module_of(config).from_images
        noted = flags.flags(self.ops, ["encoding images to tokens"])
        with noted.at(0):
            tokens = from_images(self.ops, w, config, self.ops.put(images))
        tokens = self.ops.get(tokens)
        noted.expect_clear()
        return tokens

    def picture(self, canvas: NDArray[Any]) -> NDArray[np.uint8]:
        """Show the canvas of a `Step`, with its unknown tokens: uint8 (b y x c).

        Unknown squares are GREY. They are decoded as token 0, or as latents of 0, which
        the pixels at the border of a known square depend on. Raises ShapeError,
        InputError, and NotFiniteError.
        """
        config = self.tokenizer_config
        canvas = module_of(config).check_tokens(config, canvas, canvas=True)
        unknown = ~self.kind.is_known(canvas)
        canvas[unknown] = 0
        images = self.decode(canvas)
        scale = config.factor
        images[unknown.repeat(scale, axis=1).repeat(scale, axis=2)] = GREY
        return images


def load(
    model: File,
    tokenizer: File | None = None,
    backend: str = "auto",
    images: int = BATCH,
) -> Pipeline:
    """Return the pipeline of a generator that ships (by name) or of a weight file.

    model: a name (`minigen.known_models` lists them), a file, or a folder of Hugging
    Face's hub; tokenizer: a name or a file. Without it: the one the generator was
    trained with, if it ships; else the one in the generator's file; else a file beside
    it (`minigen.finding.tokenizer_of`). backend: numpy, numba, cuda or interpreter;
    auto is numpy if images, as many as will be drawn, are too few for kernels to be
    worth compiling (`minigen.choosing`), else the fastest that is available. Name one
    where bits must stay the same. Weights are mapped from the file, so loading takes
    milliseconds; numba reads those of products, to pack them. Raises InputError,
    BackendError, CheckpointError.

    >>> load("arpg-mnist").sample([3, 7], seed=0, steps=16).shape
    (2, 32, 32, 3)
    """
    options.check("backend", backend)
    images = checks.integer("images", images, least=1)
    path = find(model)
    given = None if tokenizer is None else find(tokenizer)
    generator = load_model(path)
    check_generator(path, generator.config)
    kind = FAMILIES[family_of(generator.config).tokenizer]
    decoder = load_model(given) if given else tokenizer_of(path, kind)
    check_fit(generator, decoder, kind)
    return assemble(generator, decoder, backend, images)


def check_fit(generator: Model, tokenizer: Model, kind: Family) -> None:
    """Raise InputError unless the tokenizer can decode the generator's tokens.

    kind: the family of tokenizers that the generator needs.
    """
    ours, theirs = generator.config, tokenizer.config
    if family_of(theirs) is not kind:
        raise InputError(
            f"the tokenizer's file holds the family {tokenizer.family}; expected a "
            f"{kind.name.upper()} tokenizer, for a generator of family "
            f"{generator.family}"
        )
    if kind.name == "vq" and theirs.codes != ours.vocabulary:
        raise InputError(
            f"the generator's vocabulary has {ours.vocabulary} tokens, the tokenizer "
            f"{theirs.codes} codes; they must be the same"
        )
    if kind.name == "kl" and (ours.patch != 1 or theirs.channels != ours.channels):
        raise InputError(
            f"the generator draws {ours.patch} x {ours.patch} latents of "
            f"{ours.channels} channels at a time, and the tokenizer has "
            f"{theirs.channels}; the channels must be the same, and a pipeline takes "
            "tokens of 1 x 1 only"
        )


def assemble(
    generator: Model, tokenizer: Model, backend: str = "auto", images: int = BATCH
) -> Pipeline:
    """Return the pipeline of two models, their weights as the backend holds them.

    backend, images: as for `load`. Raises BackendError.
    """
    if backend == "auto":
        pipe = assemble(generator, tokenizer, "numpy")
        backend, _ = pipe.choose(pipe.plan(), images)
        return pipe if backend == "numpy" else assemble(generator, tokenizer, backend)
    ops = backends.table(backend)
    models = (
        replace(
            model,
            weights=backends.move(ops, model.weights),
            # the hash cannot be computed from arrays on a device
            metadata=model.metadata
            if ops.device is None
            else {**model.metadata, "minigen.hash": model.hash},
        )
        for model in (generator, tokenizer)
    )
    return Pipeline(*models, backend, ops)


def _restored(
    generator: Model, tokenizer: Model, backend: str, own: dict[str, Any]
) -> Pipeline:
    ops = vars(backends.table(backend)) | own
    return Pipeline(generator, tokenizer, backend, SimpleNamespace(**ops))
