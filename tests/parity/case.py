"""A golden case, what was compared with it, and whether all of it was used."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FACTOR = 20
"""An array may differ by this many times the float32 error recorded for it."""

EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Case:
    """One case folder being replayed on one backend.

    about: case.json; arrays: io.npz; used: names read or compared so far; results: one
    entry a comparison; failures: what was wrong, in words; decisions: for tokens,
    pixels and so on how many there were, how many of these were near-ties, in which
    both sides may win, and how many of those we decided otherwise.
    """

    folder: Path
    about: dict
    arrays: dict
    used: set = field(default_factory=set)
    results: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    decisions: dict = field(default_factory=dict)


def read(folder: Path) -> Case:
    """Read case.json and io.npz of a case folder."""
    about = json.loads((folder / "case.json").read_text())
    with np.load(folder / "io.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if isinstance(about["arrays"], dict):
        about = listed_arrays(about)
    listed = {entry["name"] for entry in about["arrays"]}
    assert listed == set(arrays), f"case.json and io.npz differ: {listed ^ set(arrays)}"
    return Case(folder, about, arrays)


def listed_arrays(about: dict) -> dict:
    """Return a case.json whose arrays are a dict in the other form: a list of entries,
    and their float32 errors by themselves, where they may stand already."""
    listed = [{"name": name, **entry} for name, entry in about["arrays"].items()]
    errors = {e["name"]: e["f32_vs_f64"] for e in listed if "f32_vs_f64" in e}
    errors |= about.get("tolerance", {})
    return {**about, "arrays": listed, "tolerance": {"per_array": errors}}


def take(case: Case, name: str) -> np.ndarray:
    """Return an array of the case and remember that it was used."""
    if name not in case.arrays:
        raise AssertionError(
            f"{case.folder}: this kind of case needs an array {name!r}; it is missing"
        )
    case.used.add(name)
    return case.arrays[name]


def recorded_error(case: Case, name: str) -> float | None:
    """Return the largest float32 error that the original itself made on an array."""
    entry = case.about.get("tolerance", {}).get("per_array", {}).get(name)
    return None if entry is None else entry["max_abs"]


def compare(case: Case, name: str, ours, within=None, explained=0.0) -> None:
    """Compare our array with the recorded one of that name, entry by entry.

    The tolerance is FACTOR times the float32 error recorded for the array. One below
    half a unit in the last place of the largest entry was luck: float32 has no number
    that near, and another BLAS is not as lucky; then it is FACTOR times that half unit.
    Where the error is 0, the float32 and float64 runs agreed to the last bit: then an
    entry may be off by one rounding of the largest one, EPS times its magnitude.
    `within` (a number or an array) gives the tolerance of arrays for which no error was
    recorded. `explained`: what errors that are allowed of other arrays explain of this
    one, where that is more: a small error may have been luck of another kind, a sum
    whose terms were off by much, some up and some down.
    """
    expected = take(case, name)
    ours = np.asarray(ours)
    if ours.shape != expected.shape:
        case.failures.append(f"{name}: shape {ours.shape}, recorded {expected.shape}")
        return
    error = recorded_error(case, name)
    if error is not None:
        within = np.maximum(allowed(case, name), explained)
    elif within is None:
        case.failures.append(f"{name}: no float32 error was recorded for it")
        return
    off = np.abs(ours.astype(np.float64) - expected.astype(np.float64))
    # nan on either side is an error beyond every tolerance
    off = np.where(np.isnan(off) & (ours != expected), np.inf, off)
    off = np.where(ours == expected, 0.0, off)
    note(case, name, off, within, recorded=bool(error))


def allowed(case: Case, name: str) -> float:
    """Return how far off an array may be of which an error was recorded: see
    `compare`."""
    error = recorded_error(case, name)
    unit = EPS * float(np.abs(case.arrays[name]).max(initial=0))
    return FACTOR * max(error, unit / 2) if error else unit


def note(case: Case, name: str, off, within, recorded=False) -> None:
    """Write down differences `off` that may be as large as `within`, numbers or arrays.

    recorded: whether `within` is FACTOR times an error recorded with the case.
    """
    off, within = np.broadcast_arrays(np.asarray(off, np.float64), within)
    # a tolerance of 0 asks for equality: then any difference is infinitely too large
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(off == 0, 0.0, off / within)
    worst = float(share.max(initial=0))
    largest = float(off.max(initial=0))
    case.results.append(
        {"array": name, "error": largest, "share": worst, "recorded": recorded}
    )
    if not worst <= 1:
        case.failures.append(
            f"{name}: off by {largest:.3g}, {worst:.3g} times what is allowed "
            f"({int((share > 1).sum())} of {off.size} entries)"
        )


def equal(case: Case, name: str, ours) -> None:
    """Compare integers: every entry must be equal."""
    expected = take(case, name)
    ours = np.asarray(ours)
    if ours.shape != expected.shape:
        case.failures.append(f"{name}: shape {ours.shape}, recorded {expected.shape}")
        return
    note(case, name, (ours.astype(np.int64) != expected.astype(np.int64)) * 1.0, 0.0)


def decide(case: Case, name: str, ours, safe, kind=None) -> None:
    """Compare tokens or codes: entries must be equal where `safe`, and are counted.

    kind: what they are counted as, by default pixels where they are bytes, else tokens.

    safe is True where the recorded margin of the decision exceeds FACTOR times the
    float error; elsewhere the two candidates are too close for float32 to tell.
    """
    expected = take(case, name)
    ours, safe = np.asarray(ours), np.broadcast_to(safe, expected.shape)
    if ours.shape != expected.shape:
        case.failures.append(f"{name}: shape {ours.shape}, recorded {expected.shape}")
        return
    differ = ours.astype(np.int64) != expected.astype(np.int64)
    kind = kind or ("pixels" if expected.dtype == np.uint8 else "tokens")
    count(case, kind, safe, differ)
    note(case, name, (differ & safe) * 1.0, 0.0)


def count(case: Case, kind: str, safe, differ) -> None:
    """Count decisions of a kind: all, near-ties, and near-ties decided otherwise."""
    counts = case.decisions.setdefault(kind, [0, 0, 0])
    for i, flags in enumerate((np.ones_like(safe), ~safe, differ & ~safe)):
        counts[i] += int(flags.sum())


def names(case: Case, prefix: str) -> list[str]:
    """Return the names of the arrays that start with `prefix`, in their order."""
    return [name for name in case.arrays if name.startswith(prefix)]


def finish(case: Case) -> None:
    """Fail if anything differed, or if an array was neither read nor compared."""
    unused = sorted(set(case.arrays) - case.used)
    problems = list(case.failures)
    if unused:
        problems.append(f"neither used nor compared: {', '.join(unused)}")
    if not case.results:
        problems.append("nothing was compared")
    assert not problems, f"{case.folder}:\n  " + "\n  ".join(problems)
