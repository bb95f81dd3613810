"""The one reader of pictures: PNG, JPEG and WebP files to red, green and blue.

A file may come from anybody. Only a regular file is opened, only these formats are
read, its size in pixels is known and limited before a pixel is decoded, and whatever is
cut short or damaged is refused. Pictures are cropped as in the tokenizers' training.
"""

from __future__ import annotations

import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name

import numpy as np

from minigen import checks
from minigen.errors import InputError, ShapeError
from minigen.words import printable

MOST_PIXELS = 178_956_970
"""Pixels of a picture that is not our own: Pillow's limit, half a gigabyte of RGB."""

MOST_BYTES = 2**31
"""Bytes of a file that is read as a whole, as WebP's are."""

MOST_TEXT = 2**26
"""Bytes of a chunk of a PNG that holds no pixels, such as text."""

PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
"""Modes of Pillow in which every pixel is opaque, and is converted rightly."""

CLEAR = ("LA", "PA", "RGBA")
"""Modes with a channel that says how opaque a pixel is."""

CLEARED = "transparency"
"""The key under which Pillow stores the transparent entries of a palette."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""The first bytes of every PNG."""

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Numbers of a PNG's pixel, by its colour type."""

ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
"""The passes of an interlaced PNG: the first column and row, and the steps of both."""

BLOCK = 2**16 - 1
"""Bytes of the longest block of a zlib stream that is not compressed."""

ORIENTATION = 0x0112
"""The EXIF tag of how the camera was held."""

TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
"""What turns a picture upright, by that tag; with any other value it is upright."""

PAPER = (255, 255, 255)
"""The colour behind transparent pixels: white, as on a page."""


def read_image(path, size=None) -> np.ndarray:
    """Return the picture in a file as uint8 (y x 3), cropped to size x size if given.

    PNG, JPEG or WebP. Grey becomes three equal channels; transparent pixels become
    white; of 16 bits the upper 8 are kept; CMYK is converted without a profile, and no
    other profile is applied; a rotation that a camera noted (EXIF) is applied. Of an
    animation the first frame is read, with a warning. Raises InputError if it is no
    such file, is damaged, or has more than MOST_PIXELS pixels.

    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("L", (4, 2), color=7).save(f"{folder}/grey.png")
    ...     image = read_image(f"{folder}/grey.png")
    >>> image.shape, image[0, 0].tolist()
    ((2, 4, 3), [7, 7, 7])
    """
    with open_picture(path) as (picture, key):
        image = decode(path, picture, key)
    return image if size is None else center_crop(image, size)


@contextmanager
def open_picture(
    path,
    formats=("PNG", "JPEG", "WebP"),
    otherwise="save the picture as PNG and give that",
) -> Iterator:
    """Yield the Pillow image of a file, no pixel of it decoded, and its colour key.

    otherwise: what to do about a file of another format, as an error says it.
    The key of a PNG is the grey value or colour that means transparent, or None. Raises
    InputError, also for what Pillow finds wrong while the file is open.
    """
    path, kinds = Path(checks.path("picture", path)), " or ".join(formats)
    kind, length = _format(path), path.stat().st_size
    if kind not in formats:
        found = f"a {kind}" if kind else "another file" if length else "empty"
        raise InputError(
            f"{path} cannot be read as a {kinds}: it is {found}; {otherwise}"
        )
    if kind != "PNG" and length > MOST_BYTES:
        raise InputError(
            f"{path} has {length:,} bytes; a {kind} file may have {MOST_BYTES:,}: make "
            "the picture smaller"
        )
    try:
        with open(path, "rb") as file:
            key, expected = _check_chunks(path, file) if kind == "PNG" else (None, None)
            file.seek(0)
            picture = _plugin(kind)(file)
            if expected is not None:
                blocks = _inflated(picture.load_read, expected)
                picture.load_read = lambda count: next(blocks, b"")
            if picture.mode != "P" or isinstance(picture.info.get(CLEARED), str):
                # a text of that name is no transparency; else the key says the same
                picture.info.pop(CLEARED, None)
            yield picture, key
            # it refers to the picture, which would wait for the garbage collector
            picture.__dict__.pop("load_read", None)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # the parsers of Pillow may raise anything
        raise InputError(
            f"{path} cannot be read as a {kind}: it is damaged; save or copy it again "
            f"({type(error).__name__}: {error})"
        ) from None


def decode(path, picture, key=None, ours=None) -> np.ndarray:
    """Decode an opened picture: uint8 (y x 3). Raises InputError if it is too large.

    ours: the size (y, x) that a picture of our own has by its recipe; it has no limit.

    >>> from PIL import Image
    >>> decode("dot.png", Image.new("L", (2, 1), color=7)).tolist()
    [[[7, 7, 7], [7, 7, 7]]]
    """
    from PIL import Image

    size = picture.height, picture.width
    if size[0] * size[1] > MOST_PIXELS and size != ours:
        raise InputError(
            f"{path} is {size[1]} x {size[0]} pixels, {size[0] * size[1]:,} in all; "
            f"expected at most {MOST_PIXELS:,}: make the picture smaller"
        )
    if getattr(picture, "is_animated", False):
        said = f"{path} is an animation of {picture.n_frames} frames; the first is read"
        warnings.warn(printable(said), stacklevel=4)
    colours = len(picture.palette.palette) // 3 if picture.palette else 0
    picture.load()
    if picture.mode == "P" and picture.getextrema()[1] >= colours:
        raise InputError(
            f"{path} has a pixel of colour {picture.getextrema()[1]}, and a palette of "
            f"{colours}: it is damaged; save it again"
        )
    rgb = to_rgb(picture, key)
    turn = TURNS.get(picture.getexif().get(ORIENTATION))
    return np.array(rgb.transpose(Image.Transpose[turn]) if turn else rgb)


def to_rgb(picture, key=None):
    """Return a Pillow image in red, green and blue, on PAPER where it is transparent.

    key: the grey value or colour that means transparent, in modes without an alpha
    channel. Raises InputError for a mode whose numbers are not colours by themselves.

    >>> from PIL import Image
    >>> black, clear = (Image.new("LA", (1, 1), (0, alpha)) for alpha in (255, 0))
    >>> to_rgb(black).getpixel((0, 0)), to_rgb(clear).getpixel((0, 0))
    ((0, 0, 0), (255, 255, 255))
    """
    from PIL import Image

    mode, opaque = picture.mode, None
    if mode.startswith("I"):
        deep = np.asarray(picture)
        if deep.min() < 0 or deep.max() > 65535:
            raise InputError(
                f"a picture in mode {mode} holds {deep.min()} .. {deep.max()}; "
                "expected 0 .. 65535: save it with 8 or 16 bits a pixel"
            )
        rgb = Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
        opaque = None if key is None else deep != key
    elif mode in CLEAR or (mode == "P" and CLEARED in picture.info):
        clear = picture.convert("RGBA")
        rgb, opaque = clear.convert("RGB"), clear.getchannel("A")
    elif mode in PLAIN:
        rgb = picture.convert("RGB")
        opaque = None if key is None else (np.asarray(rgb) != key).any(-1)
    else:
        raise InputError(
            f"a picture in mode {mode} has no one meaning in red, green and blue; "
            "save it as RGB with 8 bits a channel"
        )
    if opaque is None:
        return rgb
    if isinstance(opaque, np.ndarray):
        opaque = Image.fromarray(opaque.astype(np.uint8) * 255)
    whole = Image.new("RGB", picture.size, PAPER)
    whole.paste(rgb, mask=opaque)
    return whole


def check_images(images, factor=1, side=None) -> np.ndarray:
    """Return images of the host, uint8 (b y x 3), or raise ShapeError.

    There must be one at least; its sides must be multiples of `factor`, for whatever is
    left over would be lost, and equal `side`, if given.

    >>> check_images(np.zeros((2, 32, 24, 3), np.uint8), factor=8).shape
    (2, 32, 24, 3)
    """
    try:
        images = np.asarray(images)
    except ValueError:
        raise ShapeError(
            "images have not all the same shape; crop them alike, as "
            "minigen.images.center_crop(image, size) does, and stack them"
        ) from None
    given = f"images of shape {images.shape} and dtype {images.dtype}"
    if images.dtype != np.uint8:
        raise ShapeError(
            f"{given}; expected uint8, 0 .. 255: of numbers from 0 to 1 make "
            "(255 * images).round().astype('uint8'), of integers from 0 to 255 "
            "images.astype('uint8')"
        )
    if images.ndim != 4 or images.shape[-1] != 3:
        remedy = "read them with minigen.images.read_image(path)"
        if images.ndim == 3 and images.shape[-1] == 3:
            remedy = "a single image is given as image[None]"
        elif images.shape[-1:] == (1,):
            remedy = "grey is given three times: images.repeat(3, axis=-1)"
        raise ShapeError(f"{given}; expected (b, y, x, 3): {remedy}")
    if not images.size:
        raise ShapeError(f"{given}; expected at least 1 image of at least 1 pixel")
    y, x = images.shape[1:3]
    if side and (y, x) != (side, side):
        raise ShapeError(
            f"images of {x} x {y} pixels; expected {side} x {side}: crop each with "
            f"minigen.images.center_crop(image, {side})"
        )
    if y % factor or x % factor:
        size = max(min(y, x) // factor, 1) * factor
        raise ShapeError(
            f"images of {x} x {y} pixels; expected sides that are multiples of "
            f"{factor}, the pixels of a token: crop each, as "
            f"minigen.images.center_crop(image, {size}) does, or pad it"
        )
    return images


def center_crop(image, size) -> np.ndarray:
    """Shrink an image (y x 3), uint8, to `size` on its short side and crop the middle.

    Halving by averages comes first, as long as twice the size is there, so that the
    final bicubic step never skips a pixel. Source: openai/guided-diffusion
    image_datasets.py::center_crop_arr, as in the training of all ImageNet models here.
    Raises ShapeError, and InputError for a size that is none, or so long an image that
    it would have more than MOST_PIXELS pixels before the crop.

    >>> center_crop(np.zeros((30, 50, 3), np.uint8), 8).shape
    (8, 8, 3)
    """
    from PIL import Image

    (image,) = check_images(np.asarray(image)[None])
    short, long = sorted(image.shape[:2])
    if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
        raise InputError(
            f"an image of {image.shape[1]} x {image.shape[0]} pixels cannot be cropped "
            f"to {size!r}; give an integer number of pixels, 1 or more"
        )
    if size * size * long > MOST_PIXELS * short:
        raise InputError(
            f"an image of {image.shape[1]} x {image.shape[0]} pixels cannot be cropped "
            f"to {size} x {size}: it would first have {size * size * long // short:,} "
            f"pixels, of at most {MOST_PIXELS:,}; give a smaller size, or a part of it"
        )
    picture = Image.fromarray(image)
    while min(picture.size) >= 2 * size:
        halves = (picture.width // 2, picture.height // 2)
        picture = picture.resize(halves, Image.Resampling.BOX)
    scale = size / min(picture.size)
    sides = (round(picture.width * scale), round(picture.height * scale))
    whole = np.array(picture.resize(sides, Image.Resampling.BICUBIC))
    top, left = (whole.shape[0] - size) // 2, (whole.shape[1] - size) // 2
    return whole[top : top + size, left : left + size]


def outline(images: np.ndarray) -> np.ndarray:
    """Return the outlines of figures, white on black, of images (.. y x 3), all uint8.

    A pixel is ink if its three numbers make 384 or more, half of white. A pixel of the
    outline is no ink, but one of its eight neighbours is: the line runs outside of the
    figure, one pixel wide, so a thin stroke is seen as two lines. Beyond the border of
    an image there is no ink. Raises ShapeError.

    >>> dot = np.zeros((3, 4, 3), np.uint8)
    >>> dot[1, 0] = 255
    >>> outline(dot)[..., 0].tolist()
    [[255, 255, 0, 0], [0, 255, 0, 0], [255, 255, 0, 0]]
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-1] != 3:
        raise ShapeError(
            f"images of shape {images.shape} and dtype {images.dtype}; expected (.., "
            "y, x, 3), uint8: read them with minigen.images.read_image(path)"
        )
    ink = images.sum(-1, dtype=np.int64) >= 384
    y, x = ink.shape[-2:]
    around = np.pad(ink, [(0, 0)] * (ink.ndim - 2) + [(1, 1), (1, 1)])
    shifts = [(i, j) for i in range(3) for j in range(3)]
    near = np.any([around[..., i : i + y, j : j + x] for i, j in shifts], axis=0)
    line = (near & ~ink).astype(np.uint8) * 255
    return np.repeat(line[..., None], 3, axis=-1)


def _format(path):
    """Return the format by a file's first bytes, or None; only a file is opened."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a folder; give the name of a picture in it")
        if not stat.S_ISREG(mode):
            # to open a pipe or a device may wait for ever
            raise InputError(f"{path} is no regular file; copy the picture into one")
        with open(path, "rb") as file:
            start = file.read(12)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}") from None
    if start.startswith(SIGNATURE):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    return "WebP" if start[:4] + start[8:] == b"RIFFWEBP" else None


def _plugin(kind):
    """Return Pillow's class for a format; no other is asked whether it knows a file."""
    name = {"PNG": "Png", "JPEG": "Jpeg", "WebP": "WebP"}[kind]
    return resolve_name(f"PIL.{name}ImagePlugin:{name}ImageFile")


def _check_chunks(path, file):
    """Read a PNG's chunks; return its colour key, or None, and the bytes of its rows.

    Raises InputError unless every chunk is there, has its checksum, and is no longer
    than MOST_TEXT if it holds no pixels. Source: the PNG specification, third edition,
    sections 5.3 and 11.3.1.1.
    """
    header, key, kind = b"", None, b""
    file.seek(len(SIGNATURE))
    while kind != b"IEND":
        start = file.read(8)
        length, kind = struct.unpack(">I4s", start) if len(start) == 8 else (0, b"")
        if kind != b"IDAT" and length > MOST_TEXT:
            raise InputError(
                f"{path} cannot be read as a PNG: it has a chunk {kind!r} of "
                f"{length:,} bytes; expected at most {MOST_TEXT:,}: save the picture "
                "without such notes"
            )
        first, sum_, left = b"", zlib.crc32(kind), length
        while left and (part := file.read(min(left, 2**20))):
            sum_, left = zlib.crc32(part, sum_), left - len(part)
            first = first or part
        end = file.read(4)
        if len(end) < 4:
            raise InputError(
                f"{path} cannot be read as a PNG: it is cut short; copy or download it "
                "again"
            )
        if int.from_bytes(end, "big") != sum_:
            raise InputError(
                f"{path} cannot be read as a PNG: its chunk {kind!r} has not its "
                "checksum; copy or download it again"
            )
        if kind == b"IHDR":
            header = first
        elif kind == b"tRNS" and len(header) == 13:
            key = _colour_key(path, header[8], header[9], first)
    return key, _inflated_bytes(header)


def _inflated_bytes(header):
    """Return the bytes of a PNG's rows, each with its filter's: sections 7.2 and 8."""
    # Pillow refuses a shorter one
    header = header.ljust(13, b"\0")
    x, y, bits, colours, *_, interlaced = struct.unpack_from(">2I5B", header)
    bits *= CHANNELS.get(colours, 0)
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-((left - x) // dx), -((top - y) // dy)) for left, top, dx, dy in passes]
    return sum(rows * (1 + (bits * n + 7) // 8) for n, rows in sizes if n > 0 < rows)


def _inflated(read, expected):
    """Yield a PNG's pixels as the start of a zlib stream that is not compressed.

    Pillow does not count rows, so they are inflated and counted here before it gets
    them. read: returns more compressed bytes. Raises ValueError unless these are
    `expected` bytes.
    """
    inflater, left = zlib.decompressobj(), expected
    yield b"\x78\x01"
    while left:
        packed = inflater.unconsumed_tail or read(BLOCK)
        block = inflater.decompress(packed, min(left, BLOCK))
        left -= len(block)
        if left and (inflater.eof or not (packed or block)):
            raise ValueError(f"of {expected:,} bytes of pixels {left:,} are missing")
        while not left and not inflater.eof:
            packed = inflater.unconsumed_tail or read(BLOCK)
            if inflater.decompress(packed, 1):
                raise ValueError(f"it has more than {expected:,} bytes of pixels")
            if not packed:
                break
        yield struct.pack("<B2H", 0, len(block), len(block) ^ BLOCK) + block


def _colour_key(path, bits, colours, content):
    """Return the colour key of a chunk tRNS, in the bits of the decoded pixels."""
    if colours == 0 and len(content) == 2:
        (grey,) = struct.unpack(">H", content)
        return grey if bits == 16 else grey * 255 // (2**bits - 1)
    if colours == 2 and len(content) == 6:
        if bits == 16:
            raise InputError(
                f"{path} has 16 bits a channel and a transparent colour, of which the "
                "upper 8 bits would make several; save it with 8 bits a channel"
            )
        return struct.unpack(">3H", content)
    return None
