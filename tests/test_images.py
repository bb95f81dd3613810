"""Pictures from files: right colours whatever the mode, the crop of the originals, and
nothing opened, expanded or guessed that a stranger's file might ask for."""

import io
import json
import os
import struct
import subprocess
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from minigen import images
from minigen.cli import app
from minigen.errors import InputError, ShapeError
from minigen.images import SIGNATURE, center_crop, outline, read_image, to_rgb
from minigen.show import files


def chunk(kind, content=b""):
    """Return a chunk of a PNG."""
    size, sum_ = struct.pack(">I", len(content)), zlib.crc32(kind + content)
    return size + kind + content + struct.pack(">I", sum_)


def filtered(values, bits):
    """Return samples (y x channels) as the rows of a PNG, with no filter."""
    rows = values.reshape(len(values), -1)
    if bits == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        ones = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(ones.reshape(len(rows), -1).astype(np.uint8), axis=1)
    return np.concatenate([np.zeros((len(rows), 1), np.uint8), packed], 1).tobytes()


def png(values, bits, colours, *more, after=(), size=None):
    """Return a PNG of samples (y x channels), written by the specification alone."""
    y, x, _ = values.shape
    header = struct.pack(">2I5B", *(size or (x, y)), bits, colours, 0, 0, 0)
    return b"".join([
        SIGNATURE, chunk(b"IHDR", header), *more,
        chunk(b"IDAT", zlib.compress(filtered(values, bits))), *after, chunk(b"IEND"),
    ])  # fmt: skip


def on_paper(colour, alpha):
    """Return a colour, 0 .. 255, seen through alpha, 0 .. 255, on white."""
    return (colour * alpha + 255 * (255 - alpha) + 127) // 255


def read(tmp_path, content, name="a.png"):
    (tmp_path / name).write_bytes(content)
    return read_image(tmp_path / name)


DEPTHS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2),
          (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)]  # fmt: skip
"""Every colour type and depth that a PNG has: 0 grey, 2 RGB, 3 palette, + 4 alpha."""

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@pytest.mark.parametrize("key", [False, True], ids=["opaque", "key"])
@pytest.mark.parametrize("colours, bits", DEPTHS)
def test_every_kind_of_png_has_the_colours_of_the_specification(
    colours, bits, key, tmp_path
):
    rng = np.random.default_rng(bits)
    values = rng.integers(0, 2**bits, (5, 7, CHANNELS[colours]))
    values[0, 0], values[-1, -1] = 0, 2**bits - 1
    # 16 bits keep the upper 8, and fewer are spread over 0 .. 255
    shown = values >> 8 if bits == 16 else values * 255 // (2**bits - 1)
    more, alpha = [], np.full(values.shape[:2], 255)
    if colours == 3:
        palette = rng.integers(0, 256, (2**bits, 3))
        more = [chunk(b"PLTE", palette.astype(np.uint8).tobytes())]
        shown = palette[values[..., 0]]
        if key:
            alphas = rng.integers(0, 256, 2**bits)
            more.append(chunk(b"tRNS", alphas.astype(np.uint8).tobytes()))
            alpha = alphas[values[..., 0]]
    elif colours in (4, 6):
        shown, alpha = shown[..., :-1], shown[..., -1]
    elif key:
        clear = values[2, 3]
        more = [chunk(b"tRNS", clear.astype(">u2").tobytes())]
        alpha = np.where((values == clear).all(-1), 0, 255)
    content = png(values, bits, colours, *more)
    if key and (colours, bits) == (2, 16):
        with pytest.raises(InputError, match="8 bits a channel"):
            read(tmp_path, content)
        return
    expected = on_paper(np.broadcast_to(shown, (5, 7, 3)), alpha[..., None])
    assert np.array_equal(read(tmp_path, content), expected)


def test_a_note_named_transparency_hides_no_pixel(tmp_path):
    values = np.arange(6).reshape(2, 3, 1)
    note = chunk(b"tEXt", b"transparency\x00\x03")
    assert read(tmp_path, png(values, 8, 0, note))[1, 0].tolist() == [3] * 3
    palette = chunk(b"PLTE", bytes(range(18)))
    assert read(tmp_path, png(values, 8, 3, palette, note))[1, 0].tolist() == [
        9,
        10,
        11,
    ]


def through_yuv(rgb):
    """Return JPEG's colours (JFIF, section 7) and the way back, unrounded."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = (0.299 * r + 0.587 * g + 0.114 * b).round()
    cb = ((b - y) / 1.772 + 128).round().clip(0, 255)
    cr = ((r - y) / 1.402 + 128).round().clip(0, 255)
    return np.stack([y, cb, cr], -1).astype(np.uint8)


MODES = ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LA", "PA", "RGBA", "I",
         "I;16", "I;16B", "I;16L", "F", "LAB", "La", "RGBa"]  # fmt: skip


@given(st.sampled_from(MODES), st.integers(0, 2**32 - 1))
def test_every_mode_is_converted_rightly_or_refused(mode, seed):
    rng = np.random.default_rng(seed)
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = rng.integers(0, 256, (3, 4, channels), dtype=np.uint8)
    alpha = np.full((3, 4, 1), 255)
    error = 0
    if mode == "1":
        picture = Image.fromarray(values[..., 0] > 127)
        expected = np.where(values > 127, 255, 0)
    elif mode.startswith("I"):
        deep = rng.integers(0, 65536, (3, 4))
        kind = {"I": "<i4", "I;16B": ">u2"}.get(mode, "<u2")
        raw = deep.astype(kind).tobytes()
        picture = Image.frombytes(mode, (4, 3), raw)
        expected = (deep >> 8)[..., None]
    else:
        picture = Image.frombytes(mode, (4, 3), values.tobytes()) if mode != "F" else (
            Image.fromarray(values[..., 0].astype(np.float32))
        )  # fmt: skip
        expected = values[..., :3]
    if mode in ("P", "PA"):
        palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
        picture.putpalette(palette.tobytes())
        expected = palette[values[..., 0]]
    elif mode == "CMYK":
        expected = (255 - values[..., :3]) * (255.0 - values[..., 3:]) / 255
        error = 1
    elif mode == "YCbCr":
        rgb = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        picture = Image.frombytes(mode, (4, 3), through_yuv(rgb).tobytes())
        # a level of luma, and half a level of each difference times 1.772
        expected, error = rgb, 3
    if mode in ("LA", "PA", "RGBA"):
        alpha = values[..., -1:].astype(int)
        expected = expected if mode != "LA" else values[..., :1]
    if mode in ("F", "LAB", "La", "RGBa"):
        with pytest.raises(InputError, match=f"mode {mode}"):
            to_rgb(picture)
        return
    found = np.asarray(to_rgb(picture)).astype(float)
    wanted = np.broadcast_to(expected, (3, 4, 3)).astype(float)
    if error == 0:
        wanted = on_paper(wanted.astype(int), alpha)
    assert np.abs(found - wanted).max() <= error


def test_numbers_that_are_no_16_bits_are_refused():
    with pytest.raises(InputError, match=r"-1 \.\. 70000"):
        to_rgb(Image.fromarray(np.array([[-1, 70000]], np.int32)))


@pytest.mark.parametrize("name, options", [
    ("a.jpg", {"quality": 100, "subsampling": 0}), ("a.webp", {"lossless": True}),
    ("a.png", {}),
], ids=["jpeg", "webp", "png"])  # fmt: skip
@pytest.mark.parametrize("turn", range(10))
def test_a_picture_is_upright_as_its_camera_noted(name, options, turn, tmp_path):
    # a corner of each colour: red, green / blue, white
    x = np.zeros((16, 32, 3), np.uint8)
    x[:8, :16, 0] = x[:8, 16:, 1] = x[8:, :16, 2] = x[8:, 16:] = 255
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(x).save(tmp_path / name, exif=exif, **options)
    found = read_image(tmp_path / name)
    expected = {
        2: x[:, ::-1], 3: x[::-1, ::-1], 4: x[::-1], 5: x.swapaxes(0, 1),
        6: np.rot90(x, -1), 7: x[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(x),
    }.get(turn, x)  # fmt: skip
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (3 if name == "a.jpg" else 0)


@pytest.mark.parametrize("kind", ["PNG", "WebP"])
def test_of_an_animation_the_first_frame_is_read_and_said(kind, tmp_path):
    frames = [Image.new("RGB", (8, 6), (v, 0, 0)) for v in (40, 90, 200)]
    path = tmp_path / "a.bin"
    how = {"lossless": True} if kind == "WebP" else {}
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **how)
    with pytest.warns(UserWarning, match="animation of 3 frames; the first is read"):
        image = read_image(path)
    assert (image == [40, 0, 0]).all()


def saved(kind, mode="RGB", size=(20, 30), **options):
    buffer = io.BytesIO()
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3)).astype(np.uint8))
    picture.convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


KINDS = ["PNG", "JPEG", "WEBP"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_cut_short_is_refused_wherever_it_ends(kind, tmp_path):
    whole = saved(kind, size=(9, 11))
    read(tmp_path, whole)
    # the last two bytes of a JPEG say only that it ends
    for end in range(0, len(whole) - 2, 7):
        with pytest.raises(InputError):
            read(tmp_path, whole[:end])


def test_no_bit_of_a_png_changes_without_a_word(tmp_path):
    whole = saved("PNG", size=(5, 4))
    wanted = read(tmp_path, whole)
    for bit in range(0, 8 * len(whole), 5):
        bad = bytearray(whole)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InputError):
            read(tmp_path, bytes(bad))
    assert np.array_equal(read(tmp_path, whole + b"more"), wanted)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_damaged_picture_is_read_or_refused(kind, data, tmp_path_factory):
    bad = bytearray(saved(kind, size=(9, 11)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bad) - 1))
        bad[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(bytes(bad))
    try:
        assert read_image(path).dtype == np.uint8
    except InputError as error:
        assert path.name in str(error)


def with_rows(rows, bits, colours, size, interlaced=0, split=10**6):
    """Return a PNG of rows that were filtered, its zlib stream whole, in chunks."""
    header = struct.pack(">2I5B", *size, bits, colours, 0, 0, interlaced)
    packed = zlib.compress(rows)
    parts = [packed[i : i + split] for i in range(0, len(packed), split)]
    return b"".join([
        SIGNATURE, chunk(b"IHDR", header), *(chunk(b"IDAT", p) for p in parts),
        chunk(b"IEND"),
    ])  # fmt: skip


@pytest.mark.parametrize("split", [1, 10**6])
@pytest.mark.parametrize("colours, bits", [(2, 8), (0, 1), (4, 8)])
def test_a_png_with_too_few_or_too_many_rows_is_damaged(colours, bits, split, tmp_path):
    rng = np.random.default_rng(0)
    rows = filtered(rng.integers(0, 2**bits, (16, 24, CHANNELS[colours])), bits)
    row = len(rows) // 16
    read(tmp_path, with_rows(rows, bits, colours, (24, 16), split=split))
    for bad in (b"", rows[: 8 * row], rows[:-1], rows[:-row], rows + rows[:row],
                rows + b"\0"):  # fmt: skip
        with pytest.raises(InputError, match=r"a\.png .* damaged.* bytes of pixels"):
            read(tmp_path, with_rows(bad, bits, colours, (24, 16), split=split))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 5), (5, 4), (24, 16)])
@pytest.mark.parametrize("bits", [1, 8])
def test_an_interlaced_png_has_the_rows_of_all_passes(bits, size, tmp_path):
    x, y = size
    values = np.random.default_rng(1).integers(0, 2**bits, (y, x, 1))
    passes = [values[0::8, 0::8], values[0::8, 4::8], values[4::8, 0::4],
              values[0::4, 2::4], values[2::4, 0::2], values[0::2, 1::2],
              values[1::2]]  # fmt: skip
    rows = b"".join(filtered(part, bits) for part in passes if part.size)
    found = read(tmp_path, with_rows(rows, bits, 0, size, interlaced=1))
    assert np.array_equal(found[..., :1], values * (255 // (2**bits - 1)))
    for bad in (rows[:-1], rows + b"\0"):
        with pytest.raises(InputError, match="bytes of pixels"):
            read(tmp_path, with_rows(bad, bits, 0, size, interlaced=1))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"


@pytest.mark.parametrize("content", [
    b"", b"no image", EPS, *(saved(k) for k in ("GIF", "BMP", "TIFF", "PPM", "TGA")),
    SIGNATURE, b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0AVI ",
], ids=["empty", "words", "eps", "gif", "bmp", "tiff", "ppm", "tga", "png", "jpeg",
        "webp", "avi"])  # fmt: skip
def test_what_is_no_png_jpeg_or_webp_is_refused(content, tmp_path, monkeypatch):
    # neither a program nor another of Pillow's parsers sees it
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program"))
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("any parser"))
    with pytest.raises(InputError, match=r"a\.png"):
        read(tmp_path, content)


def test_what_is_no_file_is_never_opened(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*missing\.png"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(InputError, match="picture 'a.x00b.png' is not a text"):
        read_image("a\0b.png")
    for name in ("a" * 4000, "a" * 5000):
        with pytest.raises(InputError, match="no file|cannot be read|not a text"):
            read_image(name)
    for other in (None, 3, np.zeros((2, 2, 3), np.uint8), io.BytesIO(saved("PNG"))):
        with pytest.raises(InputError, match="neither a name nor a path"):
            read_image(other)
    if os.name == "nt":
        return
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    for name in ("pipe.png", "link.png"):
        for reader in (read_image, files.read_png, files.read_header):
            with pytest.raises(InputError, match="no regular file"):
                reader(tmp_path / name)
    with pytest.raises(InputError, match="no regular file"):
        read_image("/dev/zero")


@pytest.mark.parametrize("size", [(20000, 20000), (2**31 - 1, 1), (1, 2**28),
                                  (2**31 - 1, 2**31 - 1)])  # fmt: skip
def test_a_bomb_is_refused_before_a_pixel_is_decoded(size, tmp_path, monkeypatch):
    content = png(np.zeros((1, 1, 1), int), 8, 0, size=size)
    monkeypatch.setattr(Image.core, "new", lambda *a: pytest.fail("memory for pixels"))
    with pytest.raises(InputError, match=r"expected at most 178,956,970: make"):
        read(tmp_path, content)


@pytest.mark.parametrize("kind, options", [("JPEG", {}), ("WEBP", {"lossless": True})])
def test_other_formats_have_the_same_limit(kind, options, tmp_path, monkeypatch):
    content = saved(kind, size=(40, 50), **options)
    monkeypatch.setattr(images, "MOST_PIXELS", 1999)
    with pytest.raises(InputError, match="is 40 x 50 pixels, 2,000 in all"):
        read(tmp_path, content)
    monkeypatch.setattr(images, "MOST_PIXELS", 2000)
    assert read(tmp_path, content).shape == (50, 40, 3)
    monkeypatch.setattr(images, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="bytes"):
        read(tmp_path, content)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_note_that_expands_without_end_is_refused(kind, tmp_path):
    bomb = zlib.compress(bytes(2**26))
    middle = b"\0\0" if kind != b"iTXt" else b"\0\1\0\0\0"
    content = png(
        np.zeros((1, 1, 1), int), 8, 0, chunk(kind, b"minigen" + middle + bomb)
    )
    with pytest.raises(InputError, match="damaged|no recipe"):
        read(tmp_path, content)
        files.read_header(tmp_path / "a.png")
    with pytest.raises(InputError, match="damaged|no recipe"):
        files.read_png(tmp_path / "a.png")


def test_a_long_chunk_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_TEXT", 1000)
    content = png(np.zeros((1, 1, 1), int), 8, 0, chunk(b"tEXt", b"a\0" + bytes(999)))
    with pytest.raises(InputError, match="of 1,001 bytes; expected at most 1,000"):
        read(tmp_path, content)


def test_a_large_picture_of_our_own_is_read_and_a_strangers_is_not(
    tmp_path, monkeypatch
):
    image = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    path = files.write_png(tmp_path / "a.png", image, {"model": "m"})
    monkeypatch.setattr(images, "MOST_PIXELS", 1199)
    # what is known without a pixel
    assert files.read_header(path) == ({"model": "m"}, (30, 40))
    assert np.array_equal(files.read_png(path, ours=(30, 40))[0], image)
    for other in (None, (40, 30), (30, 41)):
        with pytest.raises(InputError, match="expected at most 1,199"):
            files.read_png(path, other)


def test_a_recipe_that_was_moved_behind_the_pixels_is_found(tmp_path):
    note = chunk(b"tEXt", b'minigen\0{"model": "m"}')
    content = png(np.zeros((2, 3, 1), int), 8, 0, after=[note])
    (tmp_path / "a.png").write_bytes(content)
    assert files.read_header(tmp_path / "a.png") == ({"model": "m"}, (2, 3))
    info = PngImagePlugin.PngInfo()
    info.add_itxt("minigen", '{"model": "m"}', zip=True)
    Image.new("L", (3, 2)).save(tmp_path / "b.png", pnginfo=info)
    assert files.read_header(tmp_path / "b.png") == ({"model": "m"}, (2, 3))


def test_a_recipe_is_a_table_or_refused(tmp_path):
    for text in ("[" * 10**5, "[]", "nonsense", "1" * 10**5, ""):
        note = chunk(b"tEXt", b"minigen\0" + text.encode())
        path = tmp_path / "a.png"
        path.write_bytes(png(np.zeros((1, 1, 1), int), 8, 0, note))
        for reader in (files.read_png, files.read_header):
            with pytest.raises(InputError, match="no recipe"):
                reader(path)


def test_a_file_is_read_as_red_green_blue(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("L", (5, 3), 200).save(path)
    image = read_image(path)
    assert image.shape == (3, 5, 3) and image.dtype == np.uint8
    assert (image == 200).all()
    # it is an array of its own
    image[0, 0] = 1


def test_cmyk_of_a_jpeg_is_not_turned_over(tmp_path):
    for cmyk, rgb in (((0, 0, 0, 0), 255), ((0, 0, 0, 255), 0), ((255, 0, 0, 0), None)):
        Image.new("CMYK", (8, 8), cmyk).save(tmp_path / "a.jpg", quality=100)
        image = read_image(tmp_path / "a.jpg").astype(int)
        assert np.abs(image - ([0, 255, 255] if rgb is None else rgb)).max() <= 2


def test_the_middle_is_kept(tmp_path):
    # left third red, right third blue, the middle green: a square keeps the green
    picture = np.zeros((16, 48, 3), np.uint8)
    for i in range(3):
        picture[:, 16 * i : 16 * i + 16, i] = 255
    image = center_crop(picture, 16)
    assert (image == [0, 255, 0]).all()


def test_halving_averages_before_the_last_step():
    # a checkerboard of single pixels has only one average
    board = np.indices((64, 64)).sum(0) % 2 * 255
    image = center_crop(np.repeat(board[:, :, None], 3, 2).astype(np.uint8), 16)
    assert image.shape == (16, 16, 3)
    assert set(np.unique(image)) <= {127, 128}


@pytest.mark.parametrize("shape", [(7, 9), (31, 17), (64, 200), (500, 33)])
@pytest.mark.parametrize("size", [1, 8, 32])
def test_any_image_becomes_a_square(shape, size):
    assert center_crop(np.zeros((*shape, 3), np.uint8), size).shape == (size, size, 3)


def test_a_crop_to_nothing_is_refused():
    image = np.zeros((4, 4, 3), np.uint8)
    for size in (0, -1, 2.0, True, "2", None):
        with pytest.raises(InputError, match=f"cropped to {size!r}; give an integer"):
            center_crop(image, size)
    for wrong in (image[0], image / 255, image[:0], image[..., :1]):
        with pytest.raises(ShapeError):
            center_crop(wrong, 2)
    assert center_crop(image, np.int64(2)).shape == (2, 2, 3)


def test_a_crop_takes_no_memory_that_its_result_does_not():
    # 256 rows of such a line would be 77 million pixels long
    line = np.zeros((1, 300_000, 3), np.uint8)
    for image, size in ((line, 256), (line[:, :8], 60_000)):
        with pytest.raises(InputError, match="would first have"):
            center_crop(image, size)
    assert center_crop(line, 8).shape == (8, 8, 3)


def test_a_colour_that_no_palette_has_is_damage(tmp_path):
    values, palette = np.arange(6).reshape(2, 3, 1), chunk(b"PLTE", bytes(range(18)))
    assert read(tmp_path, png(values, 8, 3, palette)).max() == 17
    for more in ([], [chunk(b"PLTE", bytes(15))]):
        with pytest.raises(InputError, match="pixel of colour 5, and a palette"):
            read(tmp_path, png(values, 8, 3, *more))


def test_replay_reads_large_pictures_that_their_recipe_makes(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    draw = ["sample", "arpg-mnist", "-c", "1", "--steps", "1", "--backend", "numpy"]
    again = ["replay", str(path), "--backend", "numpy"]
    run = CliRunner().invoke
    assert run(app, [*draw, "--scale", "2", "--out", str(path)]).exit_code == 0
    monkeypatch.setattr(images, "MOST_PIXELS", 64 * 64 - 1)
    found = run(app, again)
    assert found.exit_code == 0, found.output
    # a stranger's, with our recipe in it
    recipe, size = files.read_header(path)
    assert size == (64, 64)
    note = chunk(b"tEXt", b"minigen\0" + json.dumps(recipe).encode())
    content = png(np.zeros((1, 1, 1), int), 8, 0, note, size=(20000, 20000))
    path.write_bytes(content)
    monkeypatch.setattr(Image.core, "new", lambda *a: pytest.fail("memory for pixels"))
    found = run(app, again)
    assert found.exit_code == 2 and "20000 x 20000" in found.output


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 999))
def test_an_outline_lies_around_the_ink(rows, columns, seed):
    """The definition, pixel by pixel."""
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    ink = [[sum(map(int, pixel)) >= 384 for pixel in line] for line in image]
    line = outline(image)
    for y in range(rows):
        for x in range(columns):
            around = [
                ink[i][j]
                for i in range(max(y - 1, 0), min(y + 2, rows))
                for j in range(max(x - 1, 0), min(x + 2, columns))
            ]
            expected = 255 if any(around) and not ink[y][x] else 0
            assert line[y, x].tolist() == [expected] * 3
    assert np.array_equal(outline(np.stack([image, image]))[1], line)


@pytest.mark.parametrize(
    "images", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros(3, np.uint8)]
)
def test_what_is_no_image_has_no_outline(images):
    with pytest.raises(ShapeError, match="read them with"):
        outline(images)
