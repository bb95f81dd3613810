"""Find the records of a zip file that `torch.save` wrote.

Records are never compressed, so each is a range of the file that can be mapped. The
central directory at the end of the file and the header before each record must agree,
and no two records may share a byte.

Source: PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16 and 4.5.3 (zip64).
"""

from __future__ import annotations

import struct
import zlib

from minigen.errors import CheckpointError

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64_LOCATOR = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQ2H2I4Q")

NPZ = "it is an npz file of NumPy's arrays; take the file of torch.save or safetensors"

MOST_RECORDS = 200_000
"""More than any model has tensors."""

PIECE = 2**24
"""Bytes of which a check sum is taken at a time."""

LINE_ENDS = (b"", b"\n", b"\r\n")
"""What a tool for text may put behind the end of a file: torch reads over it."""

STORED, ENCRYPTED, SIZES_BEHIND = 0, 1, 8


def damaged_record(data) -> str:
    """Return the first record of a zip file whose check sum is wrong, "" for none.

    torch can leave out check sums: then all are 0, and nothing is said.
    """
    sums = {}
    records = find_records(data, sums)
    if not any(sums.values()):
        return ""
    with memoryview(data) as view:
        for name, (start, stop) in records.items():
            found = 0
            for first in range(start, stop, PIECE):
                found = zlib.crc32(view[first : min(stop, first + PIECE)], found)
            if found != sums[name]:
                return name
    return ""


def find_records(
    data, sums: dict[str, int] | None = None
) -> dict[str, tuple[int, int]]:
    """Return {name: (start, stop)} of the records in a zip file (bytes or mmap).

    sums: a dict that is given {name: check sum} of the records.

    Raises CheckpointError if sizes, offsets or names are not those of a valid file.
    """
    first, stop, count = _find_directory(data)
    records, folders, spans, at = {}, set(), [], first
    for _ in range(count):
        fields = _unpack(CENTRAL, data, at, b"PK\1\2", stop)
        flags, method, packed, size = *fields[3:5], *fields[8:10]
        lengths, header = fields[10:13], fields[16]
        at += CENTRAL.size
        ends = [at + sum(lengths[:i]) for i in range(3)]
        raw, extra = (_slice(data, ends[i], lengths[i], stop) for i in range(2))
        at += sum(lengths)
        size, packed, header = _widen(extra, [size, packed, header])
        name = _check_name(raw)
        if flags & ENCRYPTED or method != STORED or size != packed:
            if name.endswith(".npy"):
                raise CheckpointError(NPZ)
            raise CheckpointError(
                f"its record {name!r} is compressed or encrypted, which torch.save "
                "never does; of a TorchScript program, take the weights it was made of"
            )
        if name in records or name in folders:
            raise CheckpointError(f"it holds two records named {name!r}; one was added")
        begin = _check_local(data, header, first, raw, flags, size)
        spans.append((header, begin + size))
        if name.endswith("/") and not size:
            # an entry for a folder, as zip tools add them
            folders.add(name)
        else:
            records[name] = (begin, begin + size)
        if sums is not None:
            sums[name] = fields[7]
    if at != stop:
        raise CheckpointError("its central directory is longer than its entries")
    spans.sort()
    if any(end > begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False)):
        raise CheckpointError(
            "two of its records overlap; the file is not to be trusted"
        )
    if spans and spans[-1][1] > first:
        raise CheckpointError("one of its records runs into the central directory")
    return records


def _find_directory(data):
    end = data.rfind(b"PK\5\6", max(0, len(data) - END.size - 0xFFFF))
    if end < 0:
        raise CheckpointError(
            "it begins as a zip file but the directory at its end is missing; the file "
            "is cut short: download it again"
        )
    _, disk, start_disk, here, count, size, first, comment = _unpack(
        END, data, end, b"PK\5\6"
    )
    stop = end
    behind = len(data) - end - END.size - comment
    if behind > 0 and not any((disk, start_disk)) and here == count:
        if data[len(data) - behind :] not in LINE_ENDS:
            raise CheckpointError(
                "something was added behind the end of its zip directory, so the file "
                "is not to be trusted: download it again"
            )
        behind = 0
    if behind or disk or start_disk or here != count:
        raise CheckpointError("the directory at its end does not fit the file")
    at = end - END64_LOCATOR.size
    if at >= 0 and data[at : at + 4] == b"PK\6\7":
        _, disk, stop, disks = _unpack(END64_LOCATOR, data, at, b"PK\6\7")
        fields = _unpack(END64, data, stop, b"PK\6\6")
        count, size, first = fields[7:]
        if disk or disks > 1 or fields[6] != count or stop + 12 + fields[1] != at:
            raise CheckpointError(
                "the zip64 directory at its end does not fit the file"
            )
    if first + size != stop or count > MOST_RECORDS:
        raise CheckpointError("the directory at its end does not fit the file")
    return first, stop, count


def _check_local(data, header, first, raw, flags, size):
    fields = _unpack(LOCAL, data, header, b"PK\3\4", first)
    here_flags, method, sizes = fields[2], fields[3], fields[7:9]
    name_length, extra_length = fields[9:]
    name = _slice(data, header + LOCAL.size, name_length, first)
    allowed = (size, 0xFFFFFFFF, 0) if flags & SIZES_BEHIND else (size, 0xFFFFFFFF)
    if (
        name != raw
        or method != STORED
        or here_flags & ENCRYPTED
        or not all(s in allowed for s in sizes)
    ):
        raise CheckpointError(
            f"the header of its record {_check_name(raw)!r} contradicts the directory"
        )
    return header + LOCAL.size + name_length + extra_length


def _check_name(raw):
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise CheckpointError(
            f"it names a record {raw[:60]!r}, which is no text"
        ) from None
    parts = name.removesuffix("/").split("/")
    if (
        not name.isprintable()
        or "\\" in name
        # a colon is part of a date, or behind the letter of a drive
        or parts[0][1:] == ":"
        or {"", "..", "."} & {*parts}
    ):
        raise CheckpointError(
            f"it names a record {name[:200]!r}, a path that leads out of the file; it "
            "is not to be trusted"
        )
    return name


def _widen(extra, values):
    # zip64: values of all ones stand in the extra field, in this order
    if 0xFFFFFFFF not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        length = min(length, len(extra) - at - 4)
        if kind == 1:
            wide = struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8])
            wide = (value for (value,) in wide)
            return [next(wide, v) if v == 0xFFFFFFFF else v for v in values]
        at += 4 + length
    return values


def _unpack(layout, data, at, signature, stop=None):
    fields = layout.unpack(_slice(data, at, layout.size, stop))
    if fields[0] != signature:
        raise CheckpointError(
            f"its zip structure is broken at byte {at}; download it again"
        )
    return fields


def _slice(data, at, length, stop=None):
    stop = len(data) if stop is None else stop
    if not 0 <= at <= stop - length:
        raise CheckpointError(
            f"its zip structure points outside the file at byte {at}; the file is cut "
            "short or damaged: download it again"
        )
    return data[at : at + length]
