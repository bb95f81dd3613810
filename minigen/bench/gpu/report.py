"""What the numbers of a GPU bench say: floors, shares, and tables."""

from __future__ import annotations

from minigen.words import duration, table


def floor(row: dict, ceilings: dict) -> float:
    """Return the least seconds of a call: its bytes, or its operations, at best.

    >>> floor({"bytes": 6e9, "operations": 1e12, "kernels": ["linear.cuda._linear"]},
    ...       {"copy": 3e12, "float32": 50e12, "bfloat16": 700e12})
    0.02
    """
    tensor = any(name.endswith("_tensor") for name in row["kernels"])
    rate = ceilings["bfloat16" if tensor else "float32"]
    return max(row["bytes"] / ceilings["copy"], row["operations"] / rate)


def rates(row: dict, ceilings: dict) -> dict:
    """Return what a measured call achieved, and its share of the ceiling."""
    return {
        "bytes_per_second": row["bytes"] / row["seconds"],
        "operations_per_second": row["operations"] / row["seconds"],
        "floor_seconds": floor(row, ceilings),
        "share": floor(row, ceilings) / row["seconds"],
    }


def farthest(rows: list[dict], count: int = 3) -> list[str]:
    """Return the kernels farthest from their ceiling, each by its best call.

    A kernel that is far off at a size that does not fill the GPU may do well at others.
    """
    best = {}
    for row in rows:
        for name in row["kernels"]:
            best[name] = max(best.get(name, 0.0), row["share"])
    return sorted(best, key=best.get)[:count]


def microseconds(seconds: float) -> str:
    """Return a short time as one reads it.

    >>> microseconds(0.0000043), microseconds(0.0123)
    ('4.3 us', '12.3 ms')
    """
    return f"{1e6 * seconds:.1f} us" if seconds < 1e-3 else duration(seconds)


def text(results: dict) -> str:
    """Return all parts that there are, as tables."""
    parts = results["parts"]
    about = results["about"]
    blocks = [", ".join(f"{name} {value}" for name, value in about.items())]
    if "kernels" in parts:
        blocks += _kernels(parts["kernels"])
    if "launch" in parts:
        blocks.append(_launch(parts["launch"]))
    images = {n: p for n, p in parts.items() if n.startswith("images")}
    if images:
        blocks.append(_images(images))
    return "\n\n".join(blocks)


def _kernels(part):
    top, rows = part["ceilings"], part["rows"]
    limits = table([
        ("ceiling", "", "measured with"),
        ("copy", f"{top['copy'] / 1e9:.0f} GB/s", top["copy_by"]),
        *((kind, f"{top[kind] / 1e12:.1f} TFLOP/s", top[f"{kind}_by"])
          for kind in ("float32", "bfloat16")),
    ], right=[1])  # fmt: skip
    cells = [("call", "time", "GB/s", "TFLOP/s", "of the ceiling", "kernels")]
    for row in sorted(rows, key=lambda row: row["share"]):
        flops = row["operations_per_second"] / 1e12
        cells.append((
            row["name"], microseconds(row["seconds"]),
            f"{row['bytes_per_second'] / 1e9:.0f}", f"{flops:.2f}" if flops else "",
            f"{row['share']:.0%}", ", ".join(_short(row["kernels"])),
        ))  # fmt: skip
    named = ", ".join(_short(farthest(rows)))
    return [
        limits,
        table(cells, right=(1, 2, 3, 4)),
        f"farthest from their ceiling, each at its best size: {named}",
    ]


def _short(kernels):
    return [name.rpartition(".")[2].lstrip("_") for name in kernels]


def _launch(part):
    names = {
        "arrays_0": "launch, no array", "arrays_1": "launch, 1 array",
        "arrays_4": "launch, 4 arrays", "arrays_8": "launch, 8 arrays",
        "empty": "a new array", "node": "a launch in a graph",
    }  # fmt: skip
    rows = [(name, microseconds(part[key])) for key, name in names.items()]
    return table([("host", "each"), *rows], right=[1])


def _images(parts):
    cells = [("batch", "eager", "graph", "launches a step", "nodes", "same images")]
    for part in parts.values():
        if "error" in part:
            cells.append((part["batch"], "-", "-", "-", "-", part["error"]))
            continue
        cells.append((
            part["batch"], f"{part['eager']:.2f}/s", f"{part['graph']:.2f}/s",
            f"{part['launches_per_step']:.0f}", part["nodes"],
            "yes" if part["same"] else "NO",
        ))  # fmt: skip
    return table(cells, right=(0, 1, 2, 3, 4))
