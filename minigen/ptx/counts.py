"""What launches of emulated PTX did, counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from minigen.ptx.numbers import F32, S64, TYPES


@dataclass
class Access:
    """What the warps' requests of one load or store came to.

    Global memory comes in sectors of 32 bytes: `parts` is how many were touched,
    `least` how many the bytes asked for would fill. Shared memory has 32 banks of four
    bytes: `parts` is how many rounds it took, `least` how many without conflicts.
    """

    space: str
    store: bool
    requests: int = 0
    parts: int = 0
    least: int = 0
    bytes: int = 0


class Counts:
    """What launches did. Instructions are those of PTX, counted once for each warp.

    reads, writes: for each of `arrays`, by its name, how often each of its cells was
    (int64 arrays of its shape).

    >>> from minigen.ops.silu.cuda import _silu
    >>> from minigen.ptx import program
    >>> x, y = np.zeros(64, np.float32), np.zeros(64, np.float32)
    >>> counted = Counts(program(_silu, (x, y)), {"x": x})
    >>> counted.program.launch((1, 1, 1), (64, 1, 1), (x, y), counted)
    >>> counted.classes()["load.global"], int(counted.reads["x"].sum())  # two warps
    (2, 64)
    """

    def __init__(self, program, arrays=None):
        self.program, self.arrays = program, arrays or {}
        self.reads, self.writes = (
            {name: np.zeros(a.shape, S64) for name, a in self.arrays.items()}
            for _ in range(2)
        )
        self.warps, self.lanes = Counter(), Counter()
        self.accesses, self.divergent, self.met = {}, Counter(), Counter()

    def note_block(self, n, machine):
        """A basic block is run."""
        self.warps[n] += len(np.unique(machine.warp[machine.lanes]))
        self.lanes[n] += len(machine.lanes)

    def note_branch(self, line, machine, jumps):
        """Lanes take, or do not take, a branch."""
        warp = machine.warp[machine.lanes]
        taken, all_ = np.bincount(warp, jumps), np.bincount(warp)
        self.divergent[line] += int(((taken > 0) & (taken < all_)).sum())

    def note_meeting(self, lines, warps):
        """Lanes of a warp meet that come from several instructions: slow on a GPU."""
        _, times = np.unique(
            np.concatenate([*map(np.unique, warps)]), return_counts=True
        )
        self.met[min(lines)] += int((times > 1).sum())

    def note_access(self, line, space, machine, address, width, store):
        """Lanes load or store `width` bytes each."""
        access = self.accesses.setdefault(line, Access(space, store))
        warp, lane = machine.warp[machine.lanes], machine.lane[machine.lanes]
        address = np.broadcast_to(address, warp.shape).astype(S64)
        access.requests += len(np.unique(warp))
        access.bytes += width * len(warp)
        if space == "global":
            self._note_cells(address, width, self.writes if store else self.reads)
            cells = _pairs(warp, address // width)[0]
            access.parts += len(_pairs(warp, address // 32)[0])
            access.least += int(np.ceil(np.bincount(cells) * width / 32).sum())
            return
        # eight bytes a lane take two rounds of half a warp, sixteen four of a quarter
        turns = max(1, width // 4)
        turn = warp * turns + lane * turns // 32
        words = address[:, None] // 4 + np.arange(turns)
        turn, words = _pairs(np.repeat(turn, turns), words.ravel())
        _, number = np.unique(turn, return_inverse=True)
        banks = np.bincount(number * 32 + words % 32, minlength=32 * (number.max() + 1))
        access.parts += int(banks.reshape(-1, 32).max(axis=1).sum())
        access.least += int(number.max()) + 1

    def _note_cells(self, address, width, counts):
        for name, array in self.arrays.items():
            base = array.__array_interface__["data"][0]
            inside = (address >= base) & (address < base + array.nbytes)
            if inside.any():
                cell = (address[inside] - base) // array.itemsize
                each = counts[name].reshape(-1)
                for k in range(max(width // array.itemsize, 1)):
                    np.add.at(each, cell + k, 1)

    def classes(self) -> Counter:
        """Return how many instructions of each class warps ran."""
        found = Counter()
        for n, block in enumerate(self.program.blocks):
            for instruction in block.instructions:
                found[class_of(instruction.opcode)] += self.warps[n]
        return found

    def utilisation(self) -> float:
        """Return the share of lanes that took part in their warp's instructions."""
        sizes = [len(block.instructions) for block in self.program.blocks]
        ran = sum(32 * size * self.warps[n] for n, size in enumerate(sizes))
        return sum(size * self.lanes[n] for n, size in enumerate(sizes)) / max(ran, 1)

    def places(self) -> dict:
        """Return {(file, line): Counter of classes} of a kernel with line numbers."""
        found = defaultdict(Counter)
        for n, block in enumerate(self.program.blocks):
            for i in block.instructions:
                found[i.place][class_of(i.opcode)] += self.warps[n]
        return found


def _pairs(first, second):
    # the distinct pairs of two arrays
    low = second.min()
    span = int(second.max() - low) + 1
    pairs = np.unique(first.astype(S64) * span + (second - low))
    return pairs // span, pairs % span + low


def class_of(opcode) -> str:
    """Return the class of an instruction: fma, fp32, int64, int32, load.global, ..."""
    root, *words = opcode.split(".")
    if root in ("ld", "st", "atom", "red"):
        spaces = ("global", "shared", "local", "const", "param")
        space = next((word for word in words if word in spaces), "generic")
        return f"{ {'ld': 'load', 'st': 'store'}.get(root, 'atomic') }.{space}"
    if root in ("call", "membar", "fence", "nanosleep", "trap", "isspacep"):
        return "control"
    if root in ("bra", "ret", "exit", "bar", "barrier", "setp") or words[-1] == "pred":
        return {"bar": "barrier", "setp": "compare"}.get(root, "control")
    named = {"shfl": "shuffle", "vote": "shuffle", "mma": "mma", "fma": "fma"}
    named |= {"mov": "move", "cvta": "move", "cvt": "convert", "selp": "select"}
    named["slct"] = "select"
    named |= dict.fromkeys(
        ("ex2", "lg2", "sin", "cos", "rcp", "sqrt", "rsqrt"), "special"
    )
    if root in named:
        return named[root]
    kind = TYPES[words[-1]]
    if kind.kind == "f":
        return "special" if root == "div" else "fp32" if kind == F32 else "fp64"
    return f"{'divide' if root in ('div', 'rem') else 'int'}{8 * max(kind.itemsize, 4)}"
