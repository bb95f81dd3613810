"""A generator, its tokenizer and a backend: labels in, images out."""

from __future__ import annotations

import inspect
import os
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from minigen import (
    backends,
    checks,
    choosing,
    cluster,
    drawing,
    flags,
    many,
    memory,
    options,
    plans,
    recorded,
    tasks,
)
from minigen import sample as loop
from minigen.checkpoints import Model, load_model
from minigen.checkpoints.load import Saying
from minigen.checkpoints.names import flatten
from minigen.checkpoints.sources import Fields, lines, telling
from minigen.defaults import STEPS, settle
from minigen.drawing import Drawing, Progress, Settings
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
from minigen.models import codes
from minigen.show import recipe as recipes
from minigen.show import trace as traces
from minigen.show.recipe import with_paste
from minigen.words import printable
from minigen.writing import check_writable, write_file

if TYPE_CHECKING:
    # Python 3.10 has none of its own
    from typing_extensions import Unpack

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

    >>> load("arpg-mnist", backend="numpy")
    Pipeline(arpg-mnist with vq-mnist on numpy: 10 classes, 8 x 8 tokens)
    """

    generator: Model
    tokenizer: Model
    backend: str
    ops: SimpleNamespace = field(repr=False, compare=False)
    recorded: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        """Say in a line which models these are, and what they draw."""
        generator, tokenizer = (m.path.stem for m in (self.generator, self.tokenizer))
        rows, columns = self.grid
        return printable(
            f"Pipeline({generator} with {tokenizer} on {self.backend}: "
            f"{self.config.classes} classes, {rows} x {columns} tokens)"
        )

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
        *,
        grid: Sequence[int] | None = None,
        known: Sequence[int] = (),
    ) -> plans.Plan:
        """Return the plan that `sample` and `steps` run. See `minigen.plan`.

        steps: by default 16. The schedule "one" needs a step for each token, and cannot
        be asked for fewer. grid: by default that of training; known: positions whose
        tokens will be given. Raises InputError, also for an order, a schedule or a grid
        that the model cannot draw in.

        >>> load("arpg-mnist", backend="numpy").plan(schedule="linear", steps=4).counts
        (16, 16, 16, 16)
        """
        chosen = self.settle(order, schedule)
        order, schedule = chosen["order"], chosen["schedule"]
        steps = options.check("steps", steps)
        grid = self.grid if grid is None else grid
        plan = plans.plan(grid, order, schedule, steps or STEPS, known, seed)
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

        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> pipe.choose(pipe.plan(), images=1)[0]
        'numpy'
        """
        configs = self.config, self.tokenizer_config
        drawn = {"asked": plan.asked, "grid": plan.grid}
        most = choosing.most(*configs, plan.counts, batch, **drawn)
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

        >>> own = load("aim-mnist", backend="numpy").settle(temperature=0.9)
        >>> own["order"], own["guidance"], own["temperature"]
        ('raster', 2.0, 0.9)
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

        >>> how = load("arpg-mnist", backend="numpy").options(top_p=0.9)
        >>> how.top_p, how.guidance, how.temperature  # the last two are the model's own
        (0.9, 6.0, 0.8)
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
        plan: plans.Plan | None = None,
        known: NDArray[Any] | None = None,
        grid: Sequence[int] | None = None,
        details: bool = False,
        control: NDArray[Any] | None = None,
    ) -> Iterator[loop.Step]:
        """Draw one image for each label and yield every decoding step as a `Step`.

        labels: b class numbers, -1 for no class; seed: 0 .. 2**64 - 1; steps, order,
        schedule: which positions are decoded when (`minigen.plan`); guidance and the
        other options: how a token is drawn (`minigen.Options`). None is the model's
        default (`settle`). first: the number of the first image. An image is a function
        of the seed and its number, alone or in any batch. The arrays of a Step are
        copies: you may change them. Raises InputError and ShapeError at once.

        plan: what is decoded when, in place of steps, order and schedule; it decodes
        every position that it does not know. known: a canvas of known tokens, as
        `Step.canvas` holds them: (b y x) int64, -1 where unknown, or (b y x f) float32,
        NaN where unknown; without b it is for all. All images know the same positions.
        grid: rows and columns of the image in tokens, by default those of training; a
        model whose positions are learned has no others. details: whether each step has
        `minigen.details.Details`, which take more passes of the model.

        control: (b y x) int64, or (1 y x) for all: of a model with control, and of no
        other, the condition tokens of each image. Those of arpg-mnist-control are
        pipe.encode(minigen.images.outline(digits)).

        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> [step.positions.size for step in pipe.steps([7], steps=4)]
        [5, 14, 21, 24]
        """
        how = self.options(
            guidance, temperature, guidance_schedule, guided_steps, top_k, top_p,
            positions, guided_draw, confidence_noise, reading, known_reading,
        )  # fmt: skip
        labels = checks.labels(labels, self.config.classes)
        order = order, schedule, steps, seed
        plan, known = drawing.begin(self, order, plan, known, grid, len(labels))
        known = tasks.known_tokens(known, plan)
        model = self.ops, self.generator.weights, self.config
        call = *model, plan, labels, seed, how, known, first
        return loop.steps(*call, details=details, control=control)

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
        plan: plans.Plan | None = None,
        known: NDArray[Any] | None = None,
        grid: Sequence[int] | None = None,
        control: NDArray[Any] | None = None,
    ) -> NDArray[np.uint8]:
        """Draw one image for each of b labels; return uint8 (b y x c), c is RGB.

        Arguments as for `steps`. batch: how many images are drawn together; it changes
        time and memory, never an image. Raises InputError.

        On a device, a run of the same shapes as one before is replayed.

        >>> load("arpg-mnist", backend="numpy").sample([3, 7], steps=4).shape
        (2, 32, 32, 3)
        """
        labels = checks.labels(labels, self.config.classes)
        first, batch = checks.images(first, len(labels)), options.check("batch", batch)
        order = order, schedule, steps, seed
        plan, known = drawing.begin(self, order, plan, known, grid, len(labels))
        how = self.options(
            guidance, temperature, guidance_schedule, guided_steps, top_k, top_p,
            positions, guided_draw, confidence_noise, reading, known_reading,
        )  # fmt: skip
        draw = partial(recorded.draw, self, plan, seed=seed, options=how)
        known = tasks.known_tokens(known, plan)
        control = codes.check_control(self.config, plan.grid, len(labels), control)
        parts = drawing.batches(draw, labels, first, batch, known, control)
        return np.concatenate([images for images, _ in parts])

    def draw(
        self,
        labels: Labels,
        *,
        known: NDArray[Any] | None = None,
        grid: Sequence[int] | None = None,
        progress: Progress | None = None,
        **how: Unpack[Settings],
    ) -> Drawing:
        """Draw what `sample` draws; return images, their tokens, and the recipe.

        how: arguments as for `sample`. progress: called after each decoding step, with
        the steps done and those of all batches; a replayed run is done at once. Raises
        InputError and ShapeError.

        >>> drawn = load("arpg-mnist", backend="numpy").draw([3, 7], steps=4)
        >>> drawn.images.shape, drawn.tokens.shape, drawn.recipe.order
        ((2, 32, 32, 3), (2, 8, 8), 'border')
        """
        batch = how.pop("batch", BATCH)
        recipe = drawing.recipe_of(self, labels, how, known, grid)
        return drawing.run(self, recipe, batch, progress)

    def inpaint(
        self,
        image: NDArray[np.uint8],
        mask: NDArray[np.bool_],
        label: int,
        *,
        count: int = 1,
        paste: bool = False,
        progress: Progress | None = None,
        **how: Unpack[Settings],
    ) -> Drawing:
        """Draw the part of an image that a mask marks anew: `count` answers.

        image: uint8 (y x c), its sides multiples of a token's pixels; mask: bool (y x),
        True for pixels to be redrawn; label: the class of the image. Whatever token a
        marked pixel touches is redrawn, the others are known. `edit` is the same by
        another name, for another class than the image's. AiM and LlamaGen draw row
        by row: they redraw the end of an image only. All but ARPG and LlamaGen take
        images of the size of training.

        The images show what the tokenizer makes of the known tokens, which is not quite
        the image; with `paste` the pixels that the mask does not mark are those of the
        image itself. how: as for `draw`. Raises InputError and ShapeError.

        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> digit, lower = pipe.sample([7], steps=4)[0], np.zeros((32, 32), bool)
        >>> lower[16:] = True
        >>> drawn = pipe.inpaint(digit, lower, 7, count=2, paste=True, steps=4)
        >>> drawn.images.shape, bool((drawn.images[:, :16] == digit[:16]).all())
        ((2, 32, 32, 3), True)
        """
        task = tasks.inpainting(image, mask, self.tokenizer_config.factor)
        return self._do(task, label, count, paste, progress, how)

    edit = inpaint

    def outpaint(
        self,
        image: NDArray[np.uint8],
        label: int,
        border: int | Sequence[int] | None = None,
        *,
        grid: Sequence[int] | None = None,
        count: int = 1,
        paste: bool = False,
        progress: Progress | None = None,
        **how: Unpack[Settings],
    ) -> Drawing:
        """Draw what lies around an image: `count` answers.

        border: pixels on every side, or (top, bottom, left, right), multiples of a
        token's pixels; or grid: rows and columns of the result in tokens, in whose
        middle the image lies. All else is as for `inpaint`. A result that is larger
        than the images of training is an extrapolation.

        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> digit = pipe.sample([7], steps=4)[0]
        >>> pipe.outpaint(digit, 7, (0, 0, 16, 16), steps=4).images.shape
        (1, 32, 64, 3)
        """
        task = tasks.outpainting(image, self.tokenizer_config.factor, border, grid)
        return self._do(task, label, count, paste, progress, how)

    def expand(
        self,
        label: int,
        grid: Sequence[int],
        *,
        count: int = 1,
        progress: Progress | None = None,
        **how: Unpack[Settings],
    ) -> Drawing:
        """Draw images of a class on another grid than that of training.

        grid: rows and columns in tokens. It may be larger, and need not be square,
        where positions are not learned: they are rotations in ARPG and LlamaGen. The
        model has seen no such positions: what it draws is an extrapolation. how: as for
        `draw`. Raises InputError.

        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> pipe.expand(3, (8, 16), steps=4).images.shape
        (1, 32, 64, 3)
        """
        labels = [label] * options.check("count", count)
        return self.draw(labels, grid=grid, progress=progress, **how)

    def trace(
        self,
        path: File,
        labels: Labels,
        *,
        beside: Mapping[str, Any] | None = None,
        known: NDArray[Any] | None = None,
        grid: Sequence[int] | None = None,
        progress: Progress | None = None,
        **how: Unpack[Settings],
    ) -> Path:
        """Draw images and write a page, an .html file, that shows every step of them.

        It opens in a browser, from the file alone: doubt, probabilities and attention
        of all unknown cells, the order, the cache. Of vectors, which have no
        probabilities, order, canvas and features. beside: settings of a second run
        that is shown beside the first, such as {"order": "raster"}: where they differ
        (`minigen.show.trace.SETTINGS`). labels: of at most 16 runs in all; known, grid
        and how: as for `draw`; progress: called after each step with the steps done
        and those of all runs. Raises InputError and ShapeError.

        >>> from tempfile import TemporaryDirectory
        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> with TemporaryDirectory() as folder:
        ...     page = pipe.trace(f"{folder}/run.html", [7], steps=2)
        ...     page.name, page.read_text(encoding="utf-8")[:15]
        ('run.html', '<!doctype html>')
        """
        check_writable(path, ".html")
        how.pop("batch", None)
        recipes = [drawing.recipe_of(self, labels, how, known, grid)]
        if beside:
            recipes.append(traces.otherwise(self, recipes[0], beside))
        total = sum(len(plan.groups) for plan in traces.plans(self, recipes))
        done = count(1)

        def watch(step):
            if progress is not None:
                progress(next(done), total)

        page, _ = traces.page(self, recipes, watch)
        return write_file(path, page.encode())

    def save(
        self, drawn: Drawing, path: File, columns: int | None = None, scale: int = 1
    ) -> Path:
        """Write what `draw` or a task returned as a PNG, with its recipe inside.

        Many images are a sheet of some columns; scale: each pixel is shown as so many
        each way. `minigen replay` draws the picture again. Raises InputError.

        >>> from tempfile import TemporaryDirectory
        >>> from minigen.images import read_image
        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> with TemporaryDirectory() as folder:
        ...     path = pipe.save(pipe.draw([7], steps=4), f"{folder}/7.png", scale=2)
        ...     read_image(path).shape
        (64, 64, 3)
        """
        return drawing.save(drawn, path, columns, scale)

    def draw_many(
        self,
        labels: Labels,
        folder: File,
        *,
        format: str = "png",
        memory: int | str | None = None,
        cluster: str | None = None,
        known: NDArray[Any] | None = None,
        grid: Sequence[int] | None = None,
        progress: Progress | None = None,
        **how: Unpack[Settings],
    ) -> Path:
        """Draw an image for each of b labels into a folder; return the folder.

        It may be stopped at any moment, and the same call goes on: in the end the
        folder holds the very files of a run that was not stopped. manifest.json says
        what they are; an image's file is named by its number, from `first` on.

        format: png (each with its recipe), webp (lossless), jpg or npz (arrays image,
        tokens and label). memory: bytes, or a text such as "4GB", that drawing may take
        (`minigen.memory`): it decides how many images are drawn together, if `batch` in
        `how` does not. cluster: the address of a Dask scheduler, or "local:4" for four
        workers here, each with that memory; workers load the model of this pipeline by
        its name or path, and refuse other weights. known, control: of one image, for
        all. progress: called with the images that are there and those of all, first of
        all with what was there before, then after each batch. how: as for `draw`.

        Raises InputError, also if the folder holds another run, if another process
        writes there, or the disk is full; ShapeError and BackendError.

        >>> from tempfile import TemporaryDirectory
        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> with TemporaryDirectory() as folder:
        ...     made = pipe.draw_many([3, 7], f"{folder}/digits", steps=4)
        ...     sorted(path.name for path in made.iterdir() if path.suffix)
        ['000000.png', '000001.png', 'manifest.json']
        """
        labels = checks.labels(labels, self.config.classes)
        batch = how.pop("batch", None)
        recipe = drawing.recipe_of(self, labels[:1], how, known, grid)
        manifest = many.manifest_of(recipe, labels, format)
        return fill(self, manifest, folder, batch, memory, cluster, progress)

    def _do(self, task, label, count, paste, progress, how) -> Drawing:
        """Draw a task. how: keyword arguments of `draw`."""
        labels, known = [label] * options.check("count", count), None
        if task.known:
            known = task.canvas(self.encode(task.image[None])[0])
        batch = how.pop("batch", BATCH)
        recipe = drawing.recipe_of(self, labels, how, known, task.grid)
        if paste:
            recipe = with_paste(recipe, task)
        return drawing.run(self, recipe, batch, progress)

    def decode(self, tokens: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn tokens (b y x), or latents (b y x f), into images, uint8 (b y x c).

        Raises ShapeError, InputError, and NotFiniteError.

        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> pipe.decode(np.zeros((1, 8, 8), np.int64)).shape
        (1, 32, 32, 3)
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

        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> [part.shape for part in pipe.images(np.zeros((2, 8, 8), np.int64))]
        [(1, 32, 32, 3), (1, 32, 32, 3)]
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

        >>> pipe = load("arpg-mnist", backend="numpy")
        >>> tokens = pipe.encode(np.zeros((1, 32, 64, 3), np.uint8))
        >>> tokens.shape, pipe.decode(tokens).shape
        ((1, 8, 16), (1, 32, 64, 3))
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

        >>> pipe, canvas = load("arpg-mnist", backend="numpy"), np.full((1, 8, 8), -1)
        >>> canvas[0, 0, 0] = 5  # all others are unknown
        >>> pipe.picture(canvas)[0, 31, 31].tolist()
        [127, 127, 127]
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
    config: Saying = None,
    **fields: Unpack[Fields],
) -> Pipeline:
    """Return the pipeline of a generator that ships (by name) or of a weight file.

    model: a name (`minigen.known_models` lists them), a file, or a folder of Hugging
    Face's hub; tokenizer: a name or a file. Without it: the one the generator was
    trained with, if it ships; else the one in the generator's file; else a file beside
    it (`minigen.finding.tokenizer_of`). backend: one of `minigen.backends.BACKENDS`;
    auto is numpy if images, as many as will be drawn, are too few for kernels to be
    worth compiling (`minigen.choosing`), else the fastest that is available. Name one
    where bits must stay the same. Weights are mapped from the file, so loading takes
    milliseconds; numba reads those of products, to pack them.

    config, fields: what no shape of the generator's weights shows, such as heads=4 and
    tokens=64 of one that you trained: fields by name, and a configuration, a dict or a
    JSON file, in our names of fields or in the original's. What nobody says is assumed,
    with a warning; `pipe.generator.sources` says where each field came from. Raises
    InputError, BackendError, CheckpointError.

    >>> load("arpg-mnist").sample([3, 7], seed=0, steps=16).shape
    (2, 32, 32, 3)
    """
    options.check("backend", backend)
    images = checks.integer("images", images, least=1)
    path = find(model)
    given = None if tokenizer is None else find(tokenizer)
    generator = load_model(path, config=telling(config, fields))
    check_generator(path, generator.config)
    if generator.unseen:
        assumed = {name: generator.sources[name] for name in generator.unseen}
        said = "; ".join(lines(assumed))
        warnings.warn(f"{printable(path.name)}: {said}", stacklevel=2)
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


def fill(
    pipe: Pipeline,
    manifest: many.Manifest,
    folder: File,
    batch: int | None = None,
    memory_: int | str | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Bring a folder to hold the images of a manifest: see `Pipeline.draw_many`.

    With an address of a cluster, workers draw, by the backend that the manifest names,
    and the pipeline only plans: its own backend may be another.
    """
    recipe, configs = manifest.recipe, (pipe.config, pipe.tokenizer_config)
    plan = recipes.plan_of(pipe, recipe, recipes.known_of(pipe, recipe))
    recipes.check(pipe, plan, recipe)
    if isinstance(memory_, str):
        memory_ = memory.parse(memory_)
    elif memory_ is not None:
        memory_ = checks.integer("memory", memory_, least=1)
    if batch is None:
        largest = max(flatten(pipe.generator.weights).values(), key=lambda w: w.size)
        size = largest.dtype.itemsize
        drawn = *configs, plan.grid, max(plan.asked, default=0)
        batch = memory.fitting(memory_, *drawn, size=size)
    else:
        batch = options.check("batch", batch)
    if address is None:
        drawn = partial(_here, pipe, manifest.format)
    else:
        address = cluster.check_address(address)
        drawn = partial(_there, pipe, manifest.format, address)
    return many.fill(
        folder, manifest, recipes.size(pipe, recipe), batch, drawn, progress
    )


def _here(pipe, format, parts):
    for part in parts:
        yield part.first, many.draw(pipe, part, format)


def _there(pipe, format, address, parts):
    names = []
    for model in (pipe.generator, pipe.tokenizer):
        name = drawing.name_of(model)
        # a worker may be in another folder
        names.append(os.path.abspath(name) if name == str(model.path) else name)
    calls = ((*names, recipes.to_json(part), format) for part in parts)
    for (*_, part, _), contents in cluster.mapped(address, draw_part, calls):
        yield part["first"], contents


def draw_part(
    model: str, tokenizer: str, recipe: dict[str, Any], format: str
) -> list[bytes]:
    """Draw a part of a run on a worker: the files of its images. See `many.draw`.

    Raises InputError if the weights here, or what computes with them, are others than
    the recipe names.
    """
    part = recipes.from_json(recipe)
    many.check_versions(part)
    hashes = part.model_hash, part.tokenizer_hash
    told = tuple((part.config or {}).items())
    pipe = _load_checked(model, tokenizer, part.versions["backend"], hashes, told)
    return many.draw(pipe, part, format)


@lru_cache(1)
def _load_checked(model, tokenizer, backend, hashes, told):
    pipe = load(model, tokenizer, "numpy", config=dict(told))
    for found, wanted in zip((pipe.generator, pipe.tokenizer), hashes, strict=True):
        # what a file says of itself is not asked
        computed = replace(found, metadata={}).hash
        if computed != wanted:
            raise InputError(
                f"{found.path} on {platform.node()} holds the weights {computed[:12]}, "
                f"and the run is one of {wanted[:12]}; give every worker the same file"
            )
    return assemble(pipe.generator, pipe.tokenizer, backend)


def _restored(
    generator: Model, tokenizer: Model, backend: str, own: dict[str, Any]
) -> Pipeline:
    ops = vars(backends.table(backend)) | own
    return Pipeline(generator, tokenizer, backend, SimpleNamespace(**ops))
