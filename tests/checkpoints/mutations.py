"""Strategies that damage weight files, mostly where it hurts: not in the numbers."""

import functools
import io
import json
import re
import zipfile
from pathlib import Path

from hypothesis import strategies as st

from tests.checkpoints.writing import write_record

FILES = Path(__file__).parent / "files"
BASES = (
    *("protocol2_zip.pt", "protocol5_zip.pt", "protocol2_legacy.pt"),
    *("protocol4_legacy.pt", "odd_zip.pt", "odd_legacy.pt", "arpg_bfloat16.pt"),
    *("arpg_bfloat16_legacy.pt", "arpg_bfloat16.safetensors"),
)
"""Files of torch and safetensors, the small ones beside these tests or golden."""
ZIPS = ("protocol2_zip.pt", "protocol5_zip.pt", "odd_zip.pt", "arpg_bfloat16.pt")

CALL = b"cos\nsystem\n(X\x05\0\0\0falset"
SNIPPETS = (
    *(CALL + b"R", CALL + b"\x81", b"cbuiltins\neval\n(X\1\0\0\x001tR", b"\x82\x01"),
    *(
        b"(",
        b")",
        b"]",
        b"}",
        b"t",
        b"R",
        b"b",
        b"Q",
        b".",
        b"0",
        b"N",
        b"\x94",
        b"h\0",
    ),
    *(b"\x8a\xff", b"\x8e" + b"\xff" * 8, b"B\xff\xff\xff\xff", b"X\xff\xff\xff\x7f"),
    *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"../", b"/", b"\0"),
    *(b"[" * 50, b"{", b'"w":', b"-1", b"1e9", b"99999999999999999999", b"null"),
)

STRUCTURE = re.compile(
    rb"PK[\1-\7]{2}|storage|_rebuild|Storage\n|OrderedDict|\x8a|[MK][\0-\xff]|data_offsets"
    rb"|shape|dtype|\x80[\2-\5]|\x85|\x86|\x87"
)


@functools.cache
def read_base(name, golden):
    """The bytes of a base file, and the places in it where structure lies."""
    path = FILES / name
    if not path.exists():
        path = golden / "arpg/formats/weights" / name
    content = path.read_bytes()
    return content, find_structure(content)


@functools.cache
def read_records(name, golden):
    """The records of a zip file, and the places in its pickle where structure lies."""
    with zipfile.ZipFile(io.BytesIO(read_base(name, golden)[0])) as file:
        records = {record: file.read(record) for record in file.namelist()}
    pickle = next(record for record in records if record.endswith("data.pkl"))
    return records, pickle, find_structure(records[pickle])


def find_structure(content):
    places = {match.start() for match in STRUCTURE.finditer(content)}
    return sorted(places | {0, 8, len(content) - 22, len(content) - 1})


@st.composite
def mutated(draw, golden):
    """Return a file's content with one to four damages done to it.

    Of some zip files only the pickle is damaged, and the archive made whole around it.
    """
    name = draw(BASE)
    if name in ZIPS and draw(BIT) % 2:
        records, pickle, places = read_records(name, golden)
        damaged = draw_damages(draw, records[pickle], places, golden)
        return write_records({**records, pickle: damaged})
    return draw_damages(draw, *read_base(name, golden), golden)


def draw_damages(draw, content, places, golden):
    content = bytearray(content)
    for _ in range(draw(COUNT)):
        damage, (kind, number, by) = draw(DAMAGE), draw(PLACE)
        # three of four damages near structure, the others anywhere
        at = places[number % len(places)] + by if kind else number % (len(content) + 1)
        content = damage(draw, content, min(max(0, at), len(content)), golden)
    return bytes(content)


def write_records(records):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            write_record(archive, name, content)
    return file.getvalue()


def flip_bit(draw, content, at, golden):
    if at < len(content):
        content[at] ^= 1 << draw(BIT)
    return content


def set_byte(draw, content, at, golden):
    content[at : at + 1] = draw(BYTES)[:1]
    return content


def set_number(draw, content, at, golden):
    width = draw(WIDTH)
    sizes = (
        0,
        1,
        2,
        len(content),
        len(content) + 1,
        2**31,
        2**32 - 1,
        2**63,
        2**64 - 1,
    )
    value = draw(st.sampled_from(sizes)) % 256**width
    content[at : at + width] = value.to_bytes(width, "little")
    return content


def add_to_number(draw, content, at, golden):
    width = draw(WIDTH)
    value = int.from_bytes(content[at : at + width], "little") + draw(
        st.integers(-9, 9)
    )
    content[at : at + width] = (value % 256**width).to_bytes(width, "little")
    return content


def cut(draw, content, at, golden):
    return content[:at]


def remove(draw, content, at, golden):
    del content[at : at + draw(LENGTH)]
    return content


def repeat(draw, content, at, golden):
    piece = content[at : at + draw(LENGTH)]
    content[at:at] = piece * draw(BIT)
    return content


def insert(draw, content, at, golden):
    content[at:at] = draw(BYTES)
    return content


def insert_snippet(draw, content, at, golden):
    content[at:at] = draw(SNIPPET)
    return content


def overwrite_with_snippet(draw, content, at, golden):
    snippet = draw(SNIPPET)
    content[at : at + len(snippet)] = snippet
    return content


def splice(draw, content, at, golden):
    other, places = read_base(draw(BASE), golden)
    start, length = places[draw(PLACE)[1] % len(places)], 3 * draw(LENGTH)
    keep = draw(BIT) % 2
    content[at : at + length * keep] = other[start : start + length]
    return content


def swap_pieces(draw, content, at, golden):
    length = draw(LENGTH)
    other = draw(PLACE)[1] % (len(content) + 1)
    first, second = sorted((at, other))
    if first + length <= second <= len(content) - length:
        one, two = content[first : first + length], content[second : second + length]
        content[first : first + length], content[second : second + length] = two, one
    return content


def mend_lengths(draw, content, at, golden):
    # a whole pickle record again after bytes came or went: the damage lies within
    directory, end = content.rfind(b"PK\1\2"), content.rfind(b"PK\5\6")
    if 0 <= directory < end <= len(content) - 22:
        first = content.find(b"PK\1\2")
        content[end + 12 : end + 16] = (end - first).to_bytes(4, "little")
        content[end + 16 : end + 20] = first.to_bytes(4, "little")
    elif content[8:9] == b"{" and b"}}" in content:
        size = content.find(b"}}") + 2 - 8
        content[:8] = size.to_bytes(8, "little")
    return content


def change_header(draw, content, at, golden):
    # of safetensors: one field of one entry, the header's length kept true
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
        name = sorted(header)[draw(PLACE)[1] % len(header)]
        field = ("dtype", "shape", "data_offsets")[draw(BIT) % 3]
        header[name][field] = draw(HEADER_VALUES)
        text = json.dumps(header).encode()
    except (ValueError, TypeError, LookupError, RecursionError):
        return content
    return bytearray(len(text).to_bytes(8, "little") + text + content[8 + size :])


HEADER_VALUES = st.recursive(
    st.one_of(
        st.integers(-3, 100), st.sampled_from((2**31, 2**63, 2**64)), st.none(),
        st.booleans(), st.floats(), st.sampled_from(("F32", "BF16", "U8", "", "F4")),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)  # fmt: skip

DAMAGES = (
    flip_bit, flip_bit, set_byte, set_number, add_to_number, cut, remove, repeat,
    insert, insert_snippet, overwrite_with_snippet, splice, swap_pieces, mend_lengths,
    change_header,
)  # fmt: skip

BASE, COUNT, DAMAGE = (
    st.sampled_from(BASES),
    st.integers(1, 4),
    st.sampled_from(DAMAGES),
)
PLACE = st.tuples(st.integers(0, 3), st.integers(0, 2**20), st.integers(-4, 48))
BIT, LENGTH, WIDTH = (
    st.integers(0, 7),
    st.integers(1, 64),
    st.sampled_from((1, 2, 4, 8)),
)
SNIPPET, BYTES = st.sampled_from(SNIPPETS), st.binary(min_size=1, max_size=16)
"""Built once: to build a strategy takes longer than to read a small file."""
