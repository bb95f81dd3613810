"""Make one test of every golden case and backend, and report how far off each was."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest

from tests.conftest import HERE, backend_names
from tests.missing import gpu_is_asked
from tests.parity import replay
from tests.parity.case import FACTOR


def pytest_generate_tests(metafunc):
    if "replayed" not in metafunc.fixturenames:
        return
    config = metafunc.config
    golden = config.getoption("--golden").resolve()
    found = replay.find(golden)
    if not found:
        raise pytest.UsageError(f"--golden {golden} holds no FAMILY/CASE/case.json")
    metafunc.parametrize(
        "replayed",
        [
            pytest.param(
                (folder, backend),
                id=f"{family}/{folder.name}-{backend}",
                marks=marks(backend, config),
            )
            for family, folder in found
            if family in replay.FAMILIES
            for backend in backends_for(f"{family}/{folder.name}", config)
        ],
    )


def marks(backend, config) -> list:
    """Return the marks of a case on a backend."""
    if gpu_is_asked(config):
        return [pytest.mark.gpu]
    asked = bool(config.getoption("--backend"))
    some = [] if asked else [pytest.mark.in_parts]
    if backend == "ptx":
        slow = [] if asked else [pytest.mark.slow]
        return [pytest.mark.needs("compiler"), *slow, *some]
    return some if backend == "interpreter" else []


def backends_for(name, config) -> list[str]:
    """Return where a case is replayed: without a GPU its kernels too, if it is tiny.

    All cases are interpreted with --backend interpreter, which takes hours.
    """
    if gpu_is_asked(config):
        return ["cuda"]
    chosen = backend_names(config)
    if not config.getoption("--backend") and name in replay.TINY:
        return [*chosen, "ptx" if name in replay.LONG else "interpreter"]
    return chosen


def pytest_terminal_summary(terminalreporter, config):
    reports = [
        report
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if "test_parity.py" in report.nodeid and report.when == "call"
    ]
    if not reports:
        return
    played = [dict(r.user_properties)["parity"] for r in reports if r.user_properties]
    write = terminalreporter.write_line
    terminalreporter.section("golden cases")
    if config.getoption("--golden") != HERE / "golden" or config.option.verbose > 0:
        for line in table(played):
            write(line)
    for backend in dict.fromkeys(p["backend"] for p in played):
        for line in totals([p for p in played if p["backend"] == backend]):
            write(line)
    passed = sum(report.outcome == "passed" for report in reports)
    skipped = sum(report.outcome == "skipped" for report in reports)
    count = len(reports) - skipped
    write(f"cases replayed: {count} ({passed} passed), skipped: {skipped}")
    found = replay.find(config.getoption("--golden"))
    unknown = Counter(family for family, _ in found if family not in replay.FAMILIES)
    if unknown:
        listed = ", ".join(f"{family} ({n})" for family, n in sorted(unknown.items()))
        write(f"families without a replayer, not replayed: {listed}")


def totals(played) -> list[str]:
    """Return the lines that sum up the cases replayed on one backend."""
    results = [(p["case"], r) for p in played for r in p["results"]]
    arrays = len({(name, r["array"]) for name, r in results})
    lines = [f"{played[0]['backend']}: {len(played)} cases, {arrays} arrays"]
    for recorded, text in ((True, f"of {FACTOR} recorded errors"), (False, "derived")):
        shares = [
            (r["share"] * (FACTOR if recorded else 1), f"{name} {r['array']}")
            for name, r in results
            if r["recorded"] == recorded
        ]
        share, where = max(shares, default=(0.0, "none"))
        lines.append(f"  largest share of a tolerance, {text}: {share:.2f} ({where})")
    counts = defaultdict(lambda: [0, 0, 0])
    for p in played:
        for kind, new in p["decisions"].items():
            counts[kind] = [a + b for a, b in zip(counts[kind], new, strict=True)]
    for kind, (total, near, other) in sorted(counts.items()):
        lines.append(f"  {total} {kind}: {near} near-ties, {other} decided otherwise")
    return lines


def table(played) -> list[str]:
    """Return lines of the largest error of every array, traces of a case together.

    In brackets how many recorded float32 errors it is, of FACTOR allowed; or, where no
    error was recorded, how much of a derived tolerance.
    """
    rows = defaultdict(dict)
    for p in played:
        for r in p["results"]:
            key = (p["case"], re.sub(r"^[tr]\d+_", "", r["array"]))
            new = (r["share"], r["error"], r["recorded"])
            rows[key][p["backend"]] = max(rows[key].get(p["backend"], new), new)
    used = list(dict.fromkeys(p["backend"] for p in played))
    width = max((len(" ".join(key)) for key in rows), default=0)
    lines = [f"{'case and array':{width}} " + "".join(f"{b:>20}" for b in used)]
    for key, row in sorted(rows.items()):
        cells = "".join(f"{cell(row.get(backend)):>20}" for backend in used)
        lines.append(f"{' '.join(key):{width}} {cells}")
    return lines


def cell(result) -> str:
    if result is None:
        return "-"
    share, error, recorded = result
    if error == 0:
        return "equal".ljust(8)
    if recorded:
        return f"{error:.2e} [{FACTOR * share:5.2f}]"
    return f"{error:.2e} ({share:5.0%})"
