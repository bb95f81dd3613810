"""The parts of minigen that read what strangers wrote, and small inputs to begin with.

Each of `PARTS` takes bytes, puts them where a stranger would, and does with them what
the command line does before it draws. A picture is drawn of none, but of a
configuration: one step, with a model of few numbers.
"""

from __future__ import annotations

import functools
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

import minigen
from minigen.checkpoints import convert, describe, load_model, names
from minigen.families import (
    FAMILIES,
    AimConfig,
    ArinarConfig,
    ArpgConfig,
    GptConfig,
    KlConfig,
    MarConfig,
    VqConfig,
    to_dict,
)
from tests.checkpoints.writing import MAGIC, safetensors, write_record, write_zip
from tests.synth import synth

FILES = Path(__file__).parents[1] / "checkpoints"

SMALL = {
    "arpg": ArpgConfig(
        width=8, layers=2, heads=1, vocabulary=4, classes=2, multiple_of=1, tokens=4
    ),
    "llamagen": GptConfig(
        width=8, layers=1, heads=1, vocabulary=4, classes=2, multiple_of=1, tokens=4
    ),
    "aim": AimConfig(
        width=8, layers=1, vocabulary=4, classes=2, tokens=4, state_size=4, head_size=4
    ),
    "arinar": ArinarConfig(
        width=8, encoder_width=8, encoder_layers=1, decoder_layers=1, encoder_heads=2,
        decoder_heads=2, buffer=2, classes=2, tokens=4, channels=2, inner_width=64,
        inner_layers=1, mixtures=2,
    ),
    "mar": MarConfig(
        width=8, encoder_width=8, encoder_layers=1, decoder_layers=1, encoder_heads=2,
        decoder_heads=2, buffer=2, classes=2, tokens=4, channels=2, head_width=8,
        head_layers=1, noise_steps=2,
    ),
    "vq": VqConfig(base=32, multipliers=(1,), latent=4, codes=4, code_size=2),
    "kl": KlConfig(base=32, multipliers=(1,), blocks=1, channels=2, attention=()),
}  # fmt: skip
"""A model of each family, of few numbers."""


@functools.cache
def state_of(family) -> dict:
    """Return weights of a small model, by the original's names."""
    # a head that removes noise is calm, or numbers grow without end
    return {
        name: synth(name, shape) * np.float32(0.1 if "diffloss" in name else 1)
        for name, shape in names.manifest(SMALL[family]).items()
    }


def _look(path):
    # all that `info`, `convert` and `load` do before weights are written
    minigen.read_checkpoint(path)
    describe(path, check=True)
    load_model(path)


def zip_file(content, folder):
    """Read a whole file."""
    (folder / "file.pt").write_bytes(content)
    _look(folder / "file.pt")


def pickle(content, folder):
    """Read a zip file of torch's with these instructions, and two storages."""
    with zipfile.ZipFile(folder / "file.pt", "w") as file:
        write_record(file, "a/data.pkl", content)
        for key in "01":
            write_record(file, f"a/data/{key}", bytes(64))
    _look(folder / "file.pt")


def header(content, folder):
    """Read a safetensors file with this header and 64 bytes of data."""
    (folder / "file.safetensors").write_bytes(safetensors(content, 64))
    _look(folder / "file.safetensors")


@functools.cache
def converted(family, folder):
    """Return the header, as JSON has it, and the data of a converted file."""
    write_zip(folder / "source.pt", state_of(family))
    behaviour = "v1" if family == "arinar" else None
    convert(
        folder / "source.pt", folder / "ours", config=SMALL[family], behaviour=behaviour
    )
    content = (folder / "ours").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _write_converted(family, folder, text=None):
    header, data = converted(family, folder)
    metadata = header["__metadata__"]
    if text is not None:
        metadata = {**metadata, "minigen.config": text}
    path = folder / f"{family}.safetensors"
    edited = json.dumps({**header, "__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(edited)) + edited + data)
    return path


def config(content, folder):
    """Load a converted file with this configuration, and draw a step with it."""
    text = content.decode(errors="surrogateescape")
    places = {text.find(f'"{name}"'): name for name in SMALL if f'"{name}"' in text}
    family = places[min(places)] if places else "arpg"
    path = _write_converted(family, folder, text)
    model = load_model(path)
    kind = FAMILIES[family].tokenizer
    if kind:
        other = _write_converted(kind, folder)
        if model.config.tokens <= 64:
            minigen.load(path, other, "numpy").sample([1], steps=4)


def index(content, folder):
    """Read a folder of two files with this index."""
    whole = state_of("arpg")
    for number in range(2):
        path = folder / f"{number}.bin"
        if not path.exists():
            write_zip(path, {n: whole[n] for n in list(whole)[number::2]})
    (folder / "model.safetensors.index.json").write_bytes(content)
    _look(folder)


@functools.cache
def _pipe():
    return minigen.load("arpg-mnist", backend="numpy")


PNG = b"\x89PNG\r\n\x1a\n"


def recipe(content, folder):
    """Read a picture with this recipe, up to where it would be drawn again."""
    from minigen.sameness import tokens
    from minigen.show import files
    from minigen.show.recipe import check, check_size, control_of, from_json, plan_of
    from minigen.show.recipe import known_of as known

    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0),
        b"tEXt": b"minigen\0" + content,
        b"IDAT": zlib.compress(bytes(32 * 97)),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(x)) + kind + x + struct.pack(">I", zlib.crc32(kind + x))
        for kind, x in parts.items()
    )
    (folder / "a.png").write_bytes(PNG + b"".join(chunks))
    stored, size = files.read_header(folder / "a.png")
    recipe, pipe = from_json(stored), _pipe()
    check_size(pipe, recipe, size)
    plan = plan_of(pipe, recipe, known(pipe, recipe))
    control_of(pipe, recipe)
    check(pipe, plan, recipe)
    tokens(pipe, plan, recipe)


PARTS = {
    "pickle": pickle, "zip": zip_file, "legacy": zip_file, "safetensors": zip_file,
    "header": header, "config": config, "index": index, "recipe": recipe,
}  # fmt: skip
"""What reads an input of each part: functions of its bytes and of an empty folder."""


def seeds(part) -> list[bytes]:
    """Return inputs to begin with: small files of torch, and what ours write."""
    files = sorted(p for p in FILES.glob("*/*") if p.is_file() and p.suffix != ".md")
    contents = [path.read_bytes() for path in files]
    if part == "zip":
        return [c for c in contents if c[:2] == b"PK"]
    if part == "legacy":
        return [c for c in contents if MAGIC[2:14] in c[:16]]
    if part == "safetensors":
        return [c for c in contents if c[8:9] == b"{"]
    if part == "header":
        return [c[8 : 8 + int.from_bytes(c[:8], "little")] for c in contents
                if c[8:9] == b"{"]  # fmt: skip
    if part == "pickle":
        return [*_pickles(files), *_programs()]
    if part == "config":
        return [json.dumps(to_dict(config)).encode() for config in SMALL.values()]
    if part == "index":
        listed = enumerate(state_of("arpg"))
        weight_map = {name: f"{number % 2}.bin" for number, name in listed}
        return [json.dumps({"metadata": {}, "weight_map": weight_map}).encode()]
    return [json.dumps(values).encode() for values in _recipes()]


def _pickles(files):
    for path in files:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                for name in file.namelist():
                    if name.endswith("data.pkl"):
                        yield file.read(name)


def _programs():
    from tests.checkpoints.test_bombs import BOMBS, REPEATED

    for program in (*BOMBS.values(), *REPEATED.values()):
        yield b"\x80\2" + program[:2000] + b"."


def _recipes():
    from minigen.show.recipe import Recipe, to_json

    yield to_json(Recipe("arpg-mnist", (7,)))
    plan = {"steps": 4, "order": "random", "schedule": "arccos", "grid": (8, 8)}
    shown = {"columns": 2, "scale": 2, "versions": {"numpy": "2.0"}}
    drawn = {"temperature": 0.5, "top_k": 3}
    yield to_json(Recipe("arpg-mnist", (3, 7), "vq-mnist", **plan, **shown, **drawn))
    plan = {"order": (*range(64),), "schedule": (64,), "step": 1}
    drawn = {"guidance": 2.0, "guidance_schedule": "linear"}
    yield to_json(Recipe("arpg-mnist", (1,), **plan, **drawn))
