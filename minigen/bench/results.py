"""Results of runs in files, with what they were measured on, and tables of them.

A file is a run: {"bench": command, "about": `machine.about()`, "found": its results}.
What somebody else has measured is a file too: its "about" has a "source", and its
"found" only what was reported. README's tables are made of these files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from minigen.bench import headline, machine
from minigen.errors import InputError
from minigen.families import PRESETS
from minigen.words import duration, gigabytes, markdown
from minigen.writing import make_folder, write_file

SIDES = {"eager": "PyTorch", "onednn": "oneDNN", "compile": "compiled"}
"""Columns of README's table, by the names of `minigen.bench.compare.AGAINST`."""

MAKERS = ("AMD", "Intel", "Apple")
"""Makers of processors, as names of machines have them: with the same vectors, what
reads memory differs."""

HALVES = ("znver1", "bdver4")
"""AMD's processors before Zen 2, which take a vector of AVX2 in two halves."""


def save(bench: str, what: Sequence[str], found: dict, folder: Path) -> Path:
    """Write a run's results to a file in the folder, and return its path.

    The name is made of the command, of `what` was measured and of the machine; an
    earlier run of the same gives way.
    """
    about = machine.about()
    words = (bench, *what, about["machine"])
    name = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
    values = {"bench": bench, "about": about, "found": found}
    text = json.dumps(values, indent=1, default=str) + "\n"
    return write_file(make_folder(folder) / f"{name}.json", text.encode())


def load(folder: Path) -> list[dict]:
    """Return the results in a folder. Raises InputError for a file of others."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            one = json.loads(path.read_text(encoding="utf-8"))
            one["about"]["vectors"], one["found"].keys(), one["bench"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{path} holds something else than results of `minigen bench --save`; "
                "take it out of the folder"
            ) from None
        found.append(one)
    return found


def tables(found: Sequence[dict]) -> str:
    """Return README's tables of speed, in Markdown, and what each was measured on.

    One for each kind of machine: times of two machines are not compared.
    """
    order = (*reversed(machine.VECTORS), "other")
    kinds = sorted(
        {_kind(one["about"]) for one in found},
        key=lambda kind: (order.index(kind.partition(",")[0]), kind),
    )
    parts = [*(_images(found, kind) for kind in kinds), _products(found, kinds)]
    parts += [headline.report(headlines(found)), _machines(found, kinds)]
    return "\n\n".join(part for part in parts if part)


def headlines(found: Sequence[dict]) -> list[dict]:
    """Return the entries of `bench headline` among results, as `headline.report` and
    `picture.write_bars` take them, each with its machine."""
    return [
        {**entry, "machine": one["about"]["machine"]}
        for one in found
        if one["bench"] == "headline"
        for entry in one["found"]["entries"]
    ]


def _kind(about):
    # what tables are told apart by: the vectors, and who makes the processor
    maker = next((name for name in MAKERS if name in about["machine"]), "")
    if any(f"({name})" in about["machine"] for name in HALVES):
        maker += " before Zen 2"
    return ", ".join(filter(None, (about["vectors"], maker)))


def _images(found, kind):
    runs = {}
    for one in found:
        if one["bench"] == "cpu" and _kind(one["about"]) == kind:
            for row, cells in _rows_of(one["found"]):
                # of several runs of the same, the first says what only one can
                runs[row] = {**cells, **runs.get(row, {})}
    if not runs:
        return ""
    # a column for whatever any run on these machines has
    columns = [
        name
        for name in ("minigen", *SIDES, "share", "memory")
        if any(name in cells for cells in runs.values())
    ]
    titles = {**SIDES, "share": "of the limit"}
    rows = [[kind, *(titles.get(name, name) for name in columns)]]
    for row in sorted(runs, key=_place):
        rows.append([_label(row), *(runs[row].get(name, "") for name in columns)])
    return markdown(rows, right=range(1, len(rows[0])))


def _rows_of(found):
    """Yield (row, {column: text}) of a comparison: tokens, then pixels."""
    job, sides = found["job"], found["sides"]
    for part in ("tokens", "pixels"):
        if part not in sides["minigen"]["medians"]:
            continue
        drawn = job.get("tokens") if part == "tokens" else None
        whole = sides["minigen"]["medians"][part] / (drawn or 1)
        cells = {"minigen": duration(whole)}
        for name in SIDES:
            if name in sides and part in sides[name]["medians"]:
                theirs = sides[name]["medians"][part]
                ratio = sides[name].get("ratios", {}).get(part)
                ratio = ratio or theirs / sides["minigen"]["medians"][part]
                cells[name] = f"{ratio:.2f}"
        share = found.get("limit", {}).get(part, {}).get("share")
        if share is not None:
            cells["share"] = f"{share:.0%}"
        peak = sides["minigen"].get("peak_bytes")
        if peak and part == "tokens":
            cells["memory"] = gigabytes(peak)
        name = job["generator"] if part == "tokens" else job["tokenizer"]
        steps = None if drawn else job.get("steps") if part == "tokens" else None
        yield (name, part, bool(drawn), steps, job["batch"], job["dtype"]), cells


def _label(row):
    name, part, is_token, steps, batch, dtype = row
    what = "a token" if is_token else part
    words = [f"`{name}`, {what}", f"{steps} steps" if steps else ""]
    words += [
        f"batch {batch}" if batch > 1 else "",
        dtype if dtype != "float32" else "",
    ]
    return ", ".join(word for word in words if word)


def _place(row):
    # generators before tokenizers, as models are listed; few before many
    name, part, _, steps, batch, dtype = row
    return part == "pixels", [*PRESETS].index(name), dtype != "float32", batch, steps


def _products(found, kinds):
    rows = [("products", "vectors", "cells", "median", "worst")]
    for kind in kinds:
        runs = [
            one["found"]
            for one in found
            if one["bench"] == "products" and _kind(one["about"]) == kind
        ]
        own = {name for run in runs for name in run["own_bfloat16"]}
        # a shape that several models have, in several files, is one cell
        cells = {
            (c["dtype"], c["rows"], c["f"], c["d"]): c
            for run in runs
            for c in run["cells"]
            if c["ratio"] is not None
        }
        for dtype in ("float32", "bfloat16"):
            some = [cell for key, cell in cells.items() if key[0] == dtype]
            if some:
                label = dtype
                if own and dtype == "bfloat16":
                    label += f", beside {', '.join(sorted(own))}"
                rows.append((label, kind, len(some), *_judge(some)))
    return markdown(rows, right=range(2, 4)) if rows[1:] else ""


def _judge(cells):
    ratios = sorted(cell["ratio"] for cell in cells)
    worst = min(cells, key=lambda cell: cell["ratio"])
    where = "{rows} rows of {f} x {d}, {peer}".format(**worst)
    return f"{median(ratios):.2f}", f"{ratios[0]:.2f} ({where})"


def _machines(found, kinds):
    lines = []
    for kind in kinds:
        commits = {}
        for one in found:
            if _kind(one["about"]) == kind:
                commits.setdefault(_said(one["about"]), set()).add(
                    one["about"]["commit"]
                )
        said = [
            f"{what}, commit{'s' * (len(at) > 1)} {', '.join(sorted(at))}"
            for what, at in sorted(commits.items())
        ]
        lines.append(f"{kind}: {'; '.join(said)}.")
    return "\n".join(lines)


def _said(about):
    """Return what results are grouped by: all of it but the commit."""
    versions = about.get("versions", {})
    given = [f"{n} {versions[n]}" for n in ("numba", "numpy", "torch") if n in versions]
    source = [about["source"]] if "source" in about else []
    return ", ".join([about["machine"], f"{about['threads']} threads", *given, *source])


def above_limit(found: Iterable[dict]) -> list[str]:
    """Return what of these results is above its limit, which nothing can be."""
    wrong = []
    for one in found:
        for part, limit in one["found"].get("limit", {}).items():
            if limit["share"] > 1:
                wrong.append(f"{one['found']['job']}: {part} {limit['share']:.0%}")
        for cell in one["found"].get("cells", ()):
            if (cell["share"] or 0) > 1:
                where = "{dtype}, {rows} rows of {f} x {d}".format(**cell)
                wrong.append(f"{where}: {cell['share']:.0%}")
    return wrong
