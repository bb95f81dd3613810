"""Many images in a folder: drawn in batches, stopped at any moment, and continued.

An image is a pure function of the model's weights, the seed, its number and the
backend. So a run needs no memory of where it was: it looks which files are there, and
draws those that are not. Every file is written whole or not at all (`minigen.writing`).
The first one, the manifest, says what all others are: with another recipe nothing is
drawn into its folder. Who draws does not matter: this process, or many elsewhere.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from minigen import checks, drawing
from minigen.drawing import Progress
from minigen.errors import InputError
from minigen.images import read_image
from minigen.show import files
from minigen.show import recipe as recipes
from minigen.show.grid import enlarge
from minigen.show.recipe import Recipe
from minigen.writing import check_folder, locked, make_folder, write_file

MANIFEST = "manifest.json"
"""The file that says what the others are."""

VERSION = 1
"""Of the manifest's fields."""

LONGEST = 2**26
"""Bytes of the longest manifest that is read."""

MOST_IMAGES = 2**24
"""Images in one folder."""

DIGITS = 6
"""Digits of the number in a file's name, or more if the last number has more."""


@dataclass(frozen=True)
class Manifest:
    """Everything that decides the files of a folder.

    recipe: of its first image, number recipe.first; labels: pairs of a class and how
    many images of it follow each other; format: of `files.FORMATS`.
    """

    recipe: Recipe
    labels: tuple[tuple[int, int], ...]
    format: str = "png"

    @property
    def numbers(self) -> range:
        """The numbers of its images."""
        return range(self.recipe.first, self.recipe.first + len(self.classes))

    @cached_property
    def classes(self) -> np.ndarray:
        """The class of each image: int64 (b)."""
        labels, counts = zip(*self.labels, strict=True)
        return np.repeat(np.array(labels, np.int64), counts)

    def name(self, number: int) -> str:
        """Return the name of an image's file."""
        digits = max(DIGITS, len(str(self.numbers[-1])))
        return f"{number:0{digits}}.{self.format}"

    def part(self, numbers: range) -> Recipe:
        """Return the recipe of some images in a row; what is known is that of one."""
        at = numbers.start - self.recipe.first
        labels = tuple(self.classes[at : at + len(numbers)].tolist())
        return replace(self.recipe, labels=labels, first=numbers.start)


def manifest_of(recipe: Recipe, labels, format: str) -> Manifest:
    """Return the manifest of images of labels (b); recipe: of the first, signed.

    Raises InputError.
    """
    format = checks.choice("format", format, files.FORMATS)
    versions = {**recipe.versions, "pillow": current({})["pillow"]}
    recipe = replace(recipe, versions=versions)
    labels = tuple((n, len(list(row))) for n, row in groupby(labels))
    return _checked(Manifest(recipes.checked(recipe), labels, format))


def to_json(manifest: Manifest) -> dict:
    """Return the manifest as a JSON-ready dictionary."""
    recipe = recipes.to_json(manifest.recipe)
    return {
        "manifest": VERSION, "images": len(manifest.classes),
        "format": manifest.format, "labels": manifest.labels, "recipe": recipe,
    }  # fmt: skip


def read(folder: str | Path) -> Manifest | None:
    """Return the manifest of a folder, None without one. Raises InputError."""
    path = Path(folder) / MANIFEST
    try:
        if not path.exists():
            return None
        if not path.is_file() or path.stat().st_size > LONGEST:
            raise ValueError("it is no file, or too large for one")
        table = files.parse(path.read_text("utf-8"))
        if table.get("manifest") != VERSION:
            raise ValueError(
                f"its version is {checks.shown(table.get('manifest'))}, expected "
                f"{VERSION}"
            )
        labels = tuple(
            (checks.integer("class", label, checks.NO_CLASS),
             checks.integer("images", count, 1, MOST_IMAGES))
            for label, count in table["labels"]
        )  # fmt: skip
        format = checks.choice("format", table["format"], files.FORMATS)
        recipe = recipes.from_json(table["recipe"])
        manifest = _checked(Manifest(recipe, labels, format))
        if table["images"] != len(manifest.classes):
            raise ValueError("its numbers of images differ")
        return manifest
    except (OSError, ValueError, TypeError, LookupError, RecursionError,
            InputError) as error:  # fmt: skip
        raise InputError(
            f"{path} cannot be read as the manifest of a folder of images: {error}; "
            "give another folder"
        ) from None


def _checked(manifest):
    count = sum(count for _, count in manifest.labels)
    if not 1 <= count <= MOST_IMAGES:
        raise InputError(
            f"{count} images cannot lie in one folder, which takes 1 .. {MOST_IMAGES}; "
            "draw them in parts, with --first (in Python first=)"
        )
    checks.images(manifest.recipe.first, count)
    return manifest


def check_versions(recipe: Recipe) -> None:
    """Raise InputError unless what computes pixels here is what a recipe names."""
    here, there = current(recipes.versions()), current(recipe.versions)
    for name, version in here.items():
        if version != there[name]:
            raise InputError(
                f"{name} is {version} on {platform.node()}, and the run is one of "
                f"{there[name]}; install the same on every worker"
            )


def current(versions: dict[str, str]) -> dict[str, str | None]:
    """Return the versions that decide the bytes of a file; Python's own does not."""
    import PIL

    names = ("minigen", "numpy", "numba", "pillow")
    return {name: {"pillow": PIL.__version__, **versions}.get(name) for name in names}


def draw(pipe, recipe: Recipe, format: str) -> list[bytes]:
    """Draw the images of a part of a run together; return the file of each."""
    count, one = len(recipe.labels), replace(recipe, labels=recipe.labels[:1])
    together = recipe
    for name, add in (("known", recipes.with_known), ("control", recipes.with_control)):
        canvas = recipes.canvas_of(pipe, one, name)
        if canvas is not None:
            # with_known takes the order of reading from a plan, or forgets it
            together = add(together, canvas.repeat(count, axis=0))
    together = replace(together, read=recipe.read)
    drawn = drawing.run(pipe, together, count)
    found = []
    for i, label in enumerate(recipe.labels):
        tokens = drawn.tokens[i : i + 1]
        own = replace(recipe, labels=(label,), first=recipe.first + i)
        own = recipes.to_json(recipes.recorded(own, tokens))
        image = enlarge(drawn.images[i], recipe.scale)
        found.append(files.encode(format, image, own, tokens[0]))
    return found


def fill(
    folder: str | Path,
    manifest: Manifest,
    size: tuple[int, int],
    batch: int,
    drawn: Callable[[Iterable[Recipe]], Iterator[tuple[int, list[bytes]]]],
    progress: Progress | None = None,
) -> Path:
    """Bring a folder to hold all images of a manifest; return the folder.

    size: of an image in pixels (y, x); batch: images drawn together; drawn: is given
    the parts that are missing, and yields the number of the first image of each, with
    the files of all, in any order; progress: as for `Pipeline.draw_many`. Raises
    InputError: also if another process writes there, or the manifest there is another.
    """
    check_folder(folder)
    folder = make_folder(folder)
    with locked(folder):
        manifest = _begin(folder, manifest)
        missing = [
            n for n in manifest.numbers if not _is_there(folder, manifest, n, size)
        ]
        total = len(manifest.numbers)
        done = total - len(missing)
        tell = progress or (lambda done, total: None)
        tell(done, total)
        for first, contents in drawn(map(manifest.part, in_rows(missing, batch))):
            for number, content in enumerate(contents, first):
                # not waiting for the disk: what it lost is found when a run goes on
                write_file(folder / manifest.name(number), content, sync=False)
            done += len(contents)
            tell(done, total)
    return folder


def in_rows(numbers: Iterable[int], most: int) -> Iterator[range]:
    """Yield rising numbers as ranges of at most so many.

    >>> list(in_rows([1, 2, 3, 7, 8], 2))
    [range(1, 3), range(3, 4), range(7, 9)]
    """
    row = range(0)
    for number in numbers:
        if len(row) in (0, most) or number != row.stop:
            if row:
                yield row
            row = range(number, number)
        row = range(row.start, number + 1)
    if row:
        yield row


def _begin(folder, manifest):
    """Return the manifest that is there, or write this one; InputError for another."""
    found = read(folder)
    if found is None:
        # only the names matter: a folder may hold other things
        taken = {path.name for path in folder.iterdir()}
        taken = sorted(taken & {manifest.name(n) for n in manifest.numbers})
        if taken:
            raise InputError(
                f"{folder} holds {taken[0]} and no {MANIFEST}, so it is of no run of "
                "ours; give another folder"
            )
        fields_ = to_json(manifest).items()
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields_)
        write_file(folder / MANIFEST, "{{{}}}\n".format(",\n".join(lines)).encode())
        return manifest
    there, here = _compared(found), _compared(manifest)
    for name, value in here.items():
        if there[name] != value:
            raise InputError(
                f"{folder} holds another run: its {_told(name, found, manifest)} here; "
                "give another folder, or the command it was begun with"
            )
    return found


def _told(name, found, manifest):
    """Say what differs: of two models their names, unless these are the same."""
    there, here = _compared(found)[name], _compared(manifest)[name]
    if name in ("model_hash", "tokenizer_hash"):
        model = name.removesuffix("_hash")
        names = [getattr(one.recipe, model) for one in (found, manifest)]
        if None not in names and len({*names}) == 2:
            name, (there, here) = model, names
    return f"{name} is {checks.shown(there)}, and {checks.shown(here)}"


def _compared(manifest):
    """Return what must be the same, by name; a path may lead to the same weights."""
    recipe, aside = manifest.recipe, ("model", "tokenizer", "labels", "versions")
    values = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    values = {name: value for name, value in values.items() if name not in aside}
    versions = current(recipe.versions).items()
    return {
        "backend": recipe.versions.get("backend"), "format": manifest.format,
        "number of images": len(manifest.classes), "classes": manifest.labels,
        **{f"version of {name}": value for name, value in versions}, **values,
    }  # fmt: skip


def _is_there(folder, manifest, number, size):
    """Say whether the file of an image is there, and whole."""
    path = folder / manifest.name(number)
    if not path.is_file():
        return False
    try:
        return read_file(path).shape == (*size, 3)
    except InputError:
        return False


def read_file(path: Path) -> np.ndarray:
    """Return the image in a file of any of `files.FORMATS`: uint8 (y x 3)."""
    if path.suffix != ".npz":
        return read_image(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            image = arrays["image"]
    except Exception as error:
        # the readers of zip files and of arrays may raise anything
        raise InputError(f"{path} cannot be read as an image: {error}") from None
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise InputError(f"{path} holds no image, uint8 (y x 3)")
    return image


def images(folder: str | Path, manifest: Manifest) -> Iterator[np.ndarray]:
    """Yield the images of a finished folder, uint8 (y x 3), by rising numbers.

    Raises InputError at once if some are missing.
    """
    folder = Path(folder)
    paths = [folder / manifest.name(number) for number in manifest.numbers]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"{folder} holds {len(paths) - len(missing)} of its {len(paths)} images, "
            f"and not {missing[0].name}; go on with the command that it was begun with"
        )
    return map(read_file, paths)
