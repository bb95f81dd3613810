"""Measure a small model with the digit classifier that ships: `judge-mnist`.

The agreement of a generator is the share of its images that the classifier sees as the
class that was asked for; its distance is the Frechet distance between the 64 features
of its images and those of MNIST's test set. What it makes of a part of a digit is
measured by that digit's class, and by the bits of what was missing. A tokenizer is
measured by the classes of digits before and after it.
"""

from __future__ import annotations

import gzip
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigen import backends, checks, flags
from minigen.checkpoints import Model, load_model
from minigen.equality import digest, same
from minigen.errors import InputError
from minigen.families import module_of
from minigen.finding import WEIGHTS, find
from minigen.images import check_images, outline
from minigen.models import arpg, judge
from minigen.models.codes import check_takes
from minigen.options import check
from minigen.pipeline import Pipeline
from minigen.plans import Plan
from minigen.writing import replace_file

if TYPE_CHECKING:
    from typing import TypedDict

    from typing_extensions import Unpack

    # no class: nothing here inherits
    Draw = TypedDict(  # noqa: UP013
        "Draw",
        {
            "seed": int,
            "steps": int | None,
            "order": str | Sequence[int] | None,
            "schedule": str | Sequence[int] | None,
            "guidance": float | None,
            "temperature": float | None,
            "guidance_schedule": str | None,
            "guided_steps": int | None,
            "top_k": int,
            "top_p": float,
            "positions": str,
            "guided_draw": str,
            "confidence_noise": float,
            "reading": str | None,
            "known_reading": str,
        },
        total=False,
    )

BATCH = 64
"""Images classified together."""

STATISTICS = WEIGHTS / "judge-mnist.npz"
"""Mean and covariance of the classifier's features of MNIST's test set."""

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
BORDER = 2  # black pixels around a 28 x 28 digit


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean (f) and covariance (f f) of features, float64.

    >>> Statistics(np.zeros(2), np.eye(2)) == Statistics(np.zeros(2), np.eye(2))
    True
    """

    mean: NDArray[np.float64] = field(repr=False)
    covariance: NDArray[np.float64] = field(repr=False)

    # equal where all it holds is, to the last bit
    __eq__ = same
    __hash__ = digest


@dataclass(frozen=True)
class Judge:
    """The classifier on a backend: its model and its op table.

    >>> load_judge(backend="numpy").model.name
    'judge-mnist'
    """

    model: Model
    ops: SimpleNamespace = field(repr=False, compare=False)


def load_judge(model: str = "judge-mnist", backend: str = "auto") -> Judge:
    """Return the classifier of that name or file, on a backend.

    Raises InputError, BackendError, CheckpointError.

    >>> load_judge(backend="numpy").model.config.classes
    10
    """
    _, ops = backends.pick(backend)
    loaded = load_model(find(model))
    return Judge(replace(loaded, weights=backends.move(ops, loaded.weights)), ops)


def look(
    classifier: Judge,
    images: NDArray[np.uint8],
    watch: Callable[[int], object] = lambda n: None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the features (b f) of images, uint8 (b y x 3), and their classes (b).

    watch(n) is called with the number of images of each batch. Raises ShapeError for
    arrays that are no images, or not of the classifier's size.

    >>> from minigen import load
    >>> digits = load("arpg-mnist", backend="numpy").sample([3, 7], steps=8)
    >>> features, classes = look(load_judge(backend="numpy"), digits)
    >>> features.shape, classes.tolist()
    ((2, 64), [3, 7])
    """
    images = check_images(images, side=classifier.model.config.side)
    features, classes = [], []
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        x = classifier.ops.from_pixels(classifier.ops.put(part))
        seen, logits = judge.forward(
            classifier.ops, classifier.model.weights, classifier.model.config, x
        )
        features.append(classifier.ops.get(seen))
        classes.append(classifier.ops.get(logits).argmax(-1))
        watch(len(part))
    return np.concatenate(features), np.concatenate(classes)


def statistics(features: NDArray[np.floating[Any]]) -> Statistics:
    """Return mean and covariance over the rows of features (b f), in float64.

    The covariance is over b - 1. Raises InputError for fewer than two rows.

    >>> found = statistics(np.array([[0.0, 0.0], [2.0, 4.0]]))
    >>> found.mean.tolist(), found.covariance.tolist()
    ([1.0, 2.0], [[2.0, 4.0], [4.0, 8.0]])
    """
    if len(features) < 2:
        raise InputError("a covariance needs at least 2 images; ask for more")
    x = features.astype(np.float64)
    return Statistics(x.mean(0), np.cov(x, rowvar=False))


def frechet(a: Statistics, b: Statistics) -> float:
    """Return the Frechet distance of two Gaussians.

    |mean_a - mean_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), by the eigenvalues of that
    symmetric form. Source: Heusel et al. (2017), arXiv 1706.08500, equation 6.

    >>> unit = Statistics(np.zeros(2), np.eye(2))
    >>> frechet(unit, Statistics(np.array([3.0, 4.0]), 4 * np.eye(2)))
    27.0
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ b.covariance @ root)
    spread = np.trace(a.covariance) + np.trace(b.covariance)
    apart = ((a.mean - b.mean) ** 2).sum()
    # rounding may leave a distance of zero a little below it
    return float(max(apart + spread - 2 * np.sqrt(product.clip(0)).sum(), 0))


def read_statistics(path: Path = STATISTICS) -> Statistics:
    """Return the test set's statistics that ship beside the classifier.

    path: of a file that `write_statistics` wrote. Raises InputError if there is none.

    >>> found = read_statistics()
    >>> found.mean.shape, found.covariance.shape
    ((64,), (64, 64))
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return Statistics(
                file["mean"].astype(np.float64), file["covariance"].astype(np.float64)
            )
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; write it with "
            "`minigen evaluate judge-mnist --data DIR --write-statistics`"
        ) from None


def write_statistics(found: Statistics, path: Path = STATISTICS) -> Path:
    """Write what `read_statistics` reads, in float32: rounding is far below noise.

    >>> from tempfile import TemporaryDirectory
    >>> unit = Statistics(np.zeros(2), np.eye(2))
    >>> with TemporaryDirectory() as folder:
    ...     read_statistics(write_statistics(unit, Path(folder, "unit.npz"))) == unit
    True
    """
    arrays = {"mean": found.mean, "covariance": found.covariance}
    with replace_file(path) as file:
        np.savez(file, **{name: x.astype(np.float32) for name, x in arrays.items()})
    return path


def evaluate_generator(
    pipe: Pipeline,
    classifier: Judge,
    count: int,
    first: int = 0,
    batch: int = BATCH,
    watch: Callable[[int], object] = lambda n: None,
    digits: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None,
    **options: Unpack[Draw],
) -> dict[str, Any]:
    """Draw `count` images, every class in turn, and classify them.

    Returns agreement (share seen as the class asked for), distance (Frechet, to the
    test set), images, seconds (to draw, not to classify) and images_per_second.
    options: keywords of `Pipeline.sample`, from seed to known_reading.

    digits: of a model with control, and of no other: images and labels of `read_digits`
    whose outlines are drawn, of these classes. Then what `agreement_of_outlines`
    returns is added. Raises InputError, and ShapeError if the classifier takes images
    of another size.

    >>> from minigen import load
    >>> classifier = load_judge(backend="numpy")
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> found = evaluate_generator(pipe, classifier, count=4, steps=8)  # 0, 1, 2 and 3
    >>> found["agreement"], found["images"]
    (1.0, 4)
    """
    count, batch = checks.integer("count", count, least=2), check("batch", batch)
    first, side = checks.images(first, count), pipe.config.side
    pixels = count * (side * pipe.tokenizer_config.factor) ** 2
    checks.picture(pixels, "evaluate fewer images: all are kept until the end")
    labels = [(first + i) % pipe.config.classes for i in range(count)]
    control = None
    check_takes(pipe.config, digits is not None)
    if digits is not None:
        originals, labels = (each[:count] for each in digits)
        if len(labels) < count:
            raise InputError(f"count {count} is more than the {len(labels)} digits")
        labels, control = labels.tolist(), pipe.encode(outline(originals))

    def draw(at, size, batch=batch):
        part = slice(at, at + size)
        own = None if control is None else control[part]
        how = {"first": first + at, "batch": batch, "control": own}
        return pipe.sample(labels[part], **how, **options)

    # kernels are compiled before the clock starts, and images fit the classifier
    look(classifier, draw(0, 1))
    images = []
    start = time.perf_counter()
    for at in range(0, count, batch):
        images.append(draw(at, batch))
        watch(len(images[-1]))
    seconds = time.perf_counter() - start
    images = np.concatenate(images)
    features, classes = look(classifier, images)
    followed = {}
    if digits is not None:
        rebuilt = pipe.decode(pipe.encode(originals))
        followed = agreement_of_outlines(images, originals, rebuilt)
    return {
        "agreement": share(classes, labels),
        "distance": frechet(statistics(features), read_statistics()),
        **followed,
        "images": count,
        "seconds": seconds,
        "images_per_second": count / seconds,
    }


def evaluate_images(
    images: Iterable[NDArray[np.uint8]],
    labels: Sequence[int],
    classifier: Judge,
    watch: Callable[[int], object] = lambda n: None,
) -> dict[str, Any]:
    """Classify images (y x 3) that were drawn before: a batch at a time is in memory.

    labels (b): the classes that were asked for. Returns agreement, distance and images,
    as `evaluate_generator` does. Raises ShapeError for images that are not of the
    classifier's size, InputError for fewer than two.

    >>> from minigen import load
    >>> digits = load("arpg-mnist", backend="numpy").sample([3, 7], steps=8)
    >>> evaluate_images(digits, [3, 7], load_judge(backend="numpy"))["agreement"]
    1.0
    """
    features, classes, images = [], [], iter(images)
    while part := list(islice(images, BATCH)):
        seen, found = look(classifier, np.stack(part), watch)
        features.append(seen)
        classes.append(found)
    features, classes = np.concatenate(features), np.concatenate(classes)
    return {
        "agreement": share(classes, labels),
        "distance": frechet(statistics(features), read_statistics()),
        "images": len(classes),
    }


def evaluate_completion(
    pipe: Pipeline,
    classifier: Judge,
    digits: tuple[NDArray[np.uint8], NDArray[np.int64]],
    plan: Plan,
    first: int = 0,
    watch: Callable[[int], object] = lambda n: None,
    edit: bool = False,
    **options: Unpack[Draw],
) -> dict[str, Any]:
    """Draw what digits lack where only their tokens at plan.known are known.

    digits: images (b y x 3) and their classes (b), from `read_digits`; first: the
    number of the first image; edit: whether the class after a digit's own is asked for
    instead of its own (0 after 9); options: keywords of `Pipeline.sample`, without
    those of a plan. A model with control is given the digits' outlines.

    Returns agreement (share seen as the class asked for), images, seconds and
    images_per_second. With edit also `unchanged`, the share seen as the digit's own
    class. Without it, for ARPG, also bits: what an unknown token takes, asked for after
    those before it in the plan, as in training; the known ones are read as the options
    say.

    >>> from minigen import load
    >>> classifier = load_judge(backend="numpy")
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> digits = pipe.sample([3, 7], steps=8), np.array([3, 7])
    >>> plan = pipe.plan(steps=8, known=range(32))  # the upper half is known
    >>> evaluate_completion(pipe, classifier, digits, plan)["agreement"]
    1.0
    """
    reading = options.get("known_reading", "causal")
    takes, classes = getattr(pipe.config, "control", 0), pipe.config.classes
    asked_for = (digits[1] + edit) % classes
    images, bits, start = [], 0.0, time.perf_counter()
    for at in range(0, len(digits[0]), BATCH):
        part, labels = (each[at : at + BATCH] for each in (digits[0], asked_for))
        tokens = pipe.encode(part)
        control = pipe.encode(outline(part)) if takes else None
        canvas = tokens.reshape(len(part), len(plan.known + plan.order), -1).copy()
        canvas[:, list(plan.order)] = pipe.kind.UNKNOWN
        call = {"plan": plan, "known": canvas.reshape(tokens.shape), "batch": BATCH}
        call |= {"first": first + at, "control": control}
        images.append(pipe.sample(labels, **call, **options))
        if pipe.generator.family == "arpg" and not edit:
            given = tokens, labels, plan, reading, control
            bits += len(part) * unknown_bits(pipe, *given)
        watch(len(part))
    seconds, count = time.perf_counter() - start, len(digits[0])
    _, seen = look(classifier, np.concatenate(images))
    return {
        "agreement": share(seen, asked_for),
        **({"unchanged": share(seen, digits[1])} if edit else {}),
        **({"bits": bits / count} if bits else {}),
        "images": count,
        "seconds": seconds,
        "images_per_second": count / seconds,
    }


def unknown_bits(
    pipe: Pipeline,
    tokens: NDArray[np.int64],
    labels: NDArray[np.int64],
    plan: Plan,
    known_reading: str = "causal",
    control: NDArray[np.int64] | None = None,
) -> float:
    """Return the mean bits of a token that a plan decodes, by an ARPG: `loss_after`.

    tokens (b y x), labels (b); control (b y x): condition tokens, of a model with
    control.

    >>> from minigen import load
    >>> pipe, labels = load("arpg-mnist", backend="numpy"), np.array([3, 7])
    >>> tokens = pipe.encode(pipe.sample(labels, steps=8))
    >>> 0 < unknown_bits(pipe, tokens, labels, pipe.plan()) < 6  # blindly, of 64: 6
    True
    """
    ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
    table = ops.put(arpg.rotary_table(ops, config, plan.grid))
    call = ops, weights, config, tokens.reshape(len(tokens), -1), labels
    where = list(plan.known), list(plan.order), table, arpg.READINGS[known_reading]
    codes = None if control is None else control.reshape(len(control), -1)
    return float(arpg.loss_after(*call, *where, codes)) / math.log(2)


def agreement_of_outlines(
    drawn: NDArray[np.uint8], asked: NDArray[np.uint8], rebuilt: NDArray[np.uint8]
) -> dict[str, float]:
    """Return how well the outlines of drawn digits are those of the digits asked for.

    All uint8 (b y x 3); rebuilt: the digits asked for, encoded and decoded. Returns the
    `overlap` of the outlines of drawn digits with those asked for (outline); with
    those of the next digit, which nobody asked for (outline_of_next); and of the
    rebuilt digits with those asked for (outline_rebuilt), which no drawing can surpass
    by much.

    >>> dots = np.zeros((2, 4, 8, 3), np.uint8)  # one at the left, one at the right
    >>> dots[0, 1, 1] = dots[1, 1, 6] = 255
    >>> agreement_of_outlines(dots, dots, dots)
    {'outline': 1.0, 'outline_of_next': 0.0, 'outline_rebuilt': 1.0}
    """
    lines = outline(asked)
    return {
        "outline": overlap(outline(drawn), lines),
        "outline_of_next": overlap(outline(drawn), np.roll(lines, -1, axis=0)),
        "outline_rebuilt": overlap(outline(rebuilt), lines),
    }


def overlap(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return how much of their lines pictures have in common, from 0 to 1: a mean.

    a, b: uint8 (b y x 3), white lines on black. Of two pictures it is 2 |A B| / (|A| +
    |B|), where A and B are the pixels of their lines: Dice's coefficient, the F-measure
    of a line of one pixel without tolerance. Two pictures without lines have all in
    common.

    >>> line, none = np.zeros((2, 1, 3, 4, 3), np.uint8)
    >>> line[:, :, :2] = 255
    >>> overlap(line, np.roll(line, 1, axis=2)), overlap(line, none)
    (0.5, 0.0)
    """
    a, b = (lines[..., 0] > 0 for lines in (a, b))
    both, all_ = (a & b).sum((1, 2)), (a.sum((1, 2)) + b.sum((1, 2)))
    return float(np.where(all_, 2 * both / np.maximum(all_, 1), 1).mean())


def evaluate_tokenizer(
    model: Model,
    ops: SimpleNamespace,
    classifier: Judge,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    watch: Callable[[int], object] = lambda n: None,
) -> dict[str, Any]:
    """Encode and decode digits; compare their classes before and after.

    Returns accuracy_originals and accuracy_reconstructions (share seen as the true
    class), distance (Frechet, originals to reconstructions), images, and for a VQ
    tokenizer codes_used and codes. A KL tokenizer's means are decoded.

    >>> from minigen import load
    >>> classifier = load_judge(backend="numpy")
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> digits, labels = pipe.sample([3, 7], steps=8), np.array([3, 7])
    >>> found = evaluate_tokenizer(pipe.tokenizer, pipe.ops, classifier, digits, labels)
    >>> found["accuracy_reconstructions"], found["codes"]
    (1.0, 64)
    """
    rebuilt, used = [], set()
    images = check_images(images, model.config.factor)
    weights, module = backends.move(ops, model.weights), module_of(model.config)
    codes = getattr(model.config, "codes", None)
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        noted = flags.flags(ops, [f"image {start} and those after it"])
        with noted.at(0):
            tokens = module.from_images(ops, weights, model.config, ops.put(part))
            decoded = module.to_images(ops, weights, model.config, tokens)
        rebuilt.append(ops.get(decoded))
        noted.expect_clear()
        if codes:
            used.update(np.unique(ops.get(tokens)).tolist())
        watch(len(part))
    before, seen = look(classifier, images)
    after, seen_again = look(classifier, np.concatenate(rebuilt))
    found = {
        "accuracy_originals": share(seen, labels),
        "accuracy_reconstructions": share(seen_again, labels),
        "distance": frechet(statistics(before), statistics(after)),
    }
    counted = {"codes_used": len(used), "codes": codes} if codes else {}
    return {**found, **counted, "images": len(images)}


def write_npz(
    path: str | Path,
    images: Iterable[NDArray[np.uint8]],
    count: int,
    size: tuple[int, int],
) -> Iterator[NDArray[np.uint8]]:
    """Write images to the .npz that evaluations of FID read, and yield each of them.

    images: `count` of them, uint8 (y x 3); size: theirs, (y, x). The file holds one
    array, arr_0, uint8 (b y x 3), not compressed, as numpy.savez would write it; it is
    there when the last image has been taken. One image at a time is in memory.

    Source: openai/guided-diffusion evaluations/evaluator.py reads it so, and the sample
    scripts of ARPG, LlamaGen, AiM and MAR write it for that. Raises InputError.

    >>> from tempfile import TemporaryDirectory
    >>> images = np.zeros((3, 8, 8, 3), np.uint8)
    >>> with TemporaryDirectory() as folder:
    ...     written = sum(1 for _ in write_npz(f"{folder}/a.npz", images, 3, (8, 8)))
    ...     with np.load(f"{folder}/a.npz") as file:
    ...         written, file["arr_0"].shape
    (3, (3, 8, 8, 3))
    """
    shape = (count, *size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with (
        replace_file(path) as file,
        ZipFile(file, "w") as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as array,
    ):
        np.lib.format.write_array_header_1_0(array, header)
        written = 0
        for image in images:
            if image.shape != shape[1:]:
                raise InputError(
                    f"image {written} of the folder has the shape {image.shape}; "
                    f"expected {shape[1:]}, that of the first"
                )
            array.write(np.ascontiguousarray(image).data)
            written += 1
            yield image
        if written != count:
            raise InputError(f"{written} images were read; expected {count}")


def share(seen: ArrayLike, asked: ArrayLike) -> float:
    """Return the share of images whose class is the one asked for.

    >>> share(seen=[3, 7, 1, 1], asked=[3, 7, 1, 2])
    0.75
    """
    return float(np.mean(np.asarray(seen) == np.asarray(asked)))


def read_digits(
    folder: str | Path, part: str = "test", count: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return digits as the small models see them, uint8 (b 32 32 3), and labels (b).

    folder: of the four files of MNIST; part: train or test; count: the first ones only.
    Labels are int64. Raises InputError as `read_idx` does.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".

    >>> from tempfile import TemporaryDirectory
    >>> image = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28, *[0] * 784])
    >>> label = bytes([0, 0, 8, 1, 0, 0, 0, 1, 7])
    >>> with TemporaryDirectory() as folder:
    ...     for name, content in zip(FILES["test"], (image, label)):
    ...         size = Path(folder, name).write_bytes(gzip.compress(content))
    ...     images, labels = read_digits(folder)
    >>> images.shape, labels.tolist()
    ((1, 32, 32, 3), [7])
    """
    images, labels = (read_idx(Path(folder) / name)[:count] for name in FILES[part])
    around = ((0, 0), (BORDER, BORDER), (BORDER, BORDER))
    grey = np.pad(images, around)[..., None]
    return np.repeat(grey, 3, axis=-1), labels.astype(np.int64)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes, uint8: images (b y x) or labels (b).

    Raises InputError if there is no such file, or it is damaged.

    >>> from tempfile import TemporaryDirectory
    >>> content = bytes([0, 0, 8, 1, 0, 0, 0, 2, 3, 7])
    >>> with TemporaryDirectory() as folder:
    ...     size = Path(folder, "labels.gz").write_bytes(gzip.compress(content))
    ...     read_idx(Path(folder, "labels.gz")).tolist()
    [3, 7]
    """
    try:
        with gzip.open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        names = ", ".join(sum(FILES.values(), ()))
        raise InputError(
            f"{path} does not exist; give --data the folder of the four MNIST files "
            f"({names})"
        ) from None
    except (OSError, EOFError) as error:
        raise InputError(f"{path} is not a whole gzip file: {error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise InputError(f"{path} does not begin as an IDX file of unsigned bytes does")
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4).astype(int)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes))
    if values.size != sizes.prod():
        raise InputError(
            f"{path} announces {tuple(sizes)} values, but {values.size} bytes follow"
        )
    return values.reshape(sizes)
