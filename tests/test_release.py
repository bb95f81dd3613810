"""A release holds what is tracked, the same bytes each time, and says its version."""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import minigen
from minigen import doctor
from tests import pip_lines, release
from tests.release import read

ROOT = pip_lines.ROOT
TRACKED = sorted(path.relative_to(ROOT).as_posix() for path in pip_lines.tracked())
EPOCH = 1_700_000_000

READ = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore",
        "lessons/.gitignore", "minigen/__init__.py")  # fmt: skip
"""What a build reads; of all other files the names are enough."""

LEFT = (
    "sevens.png", "sevens/000000.png", "sevens/manifest.json", "steps.gif", "notes.md",
    "model.safetensors", "fid.npz", "minigen/sevens.png", "minigen/ops/trace.json",
    "minigen/weights/mine.safetensors", "minigen/weights/arpg-mnist.safetensors.part",
    "lessons/sevens.png", "lessons/pictures/01_bits.png", "lessons/pictures/mine.png",
    "lessons/live/arpg.wasm", "tests/sevens.png", "tests/report.json",
    "tests/golden/arpg/formats/seen.png", "tests/checkpoints/files/mine.safetensors",
    "site/index.html", "build/lib/minigen/cli.py", "dist/minigen-9.whl",
    "minigen/__pycache__/cli.cpython-311.pyc", ".hypothesis/examples/0", ".env",
)  # fmt: skip
"""What runs, editors and people leave in a checkout."""


def fill(folder):
    """Make a checkout whose files are empty where a build does not read them."""
    for name in (*TRACKED, *LEFT):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / name).read_bytes() if name in READ else b"")
    return folder


@pytest.mark.needs("hatchling")
def test_what_is_built_is_what_is_tracked_and_the_same_bytes_each_time(tmp_path):
    one, two = fill(tmp_path / "one"), tmp_path / "two"
    release.scatter(one, two)
    first = release.build(sys.executable, one, tmp_path / "a", EPOCH, 0o022)
    second = release.build(sys.executable, two, tmp_path / "b", EPOCH, 0o077)
    assert [path.suffix for path in first] == [".whl", ".gz"]
    assert release.differing(first, second) == []
    for path in first:
        wanted = release.expected(path, TRACKED)
        assert release.strays(release.held(path), wanted) == []


def test_what_a_wheel_needs_besides_code_is_tracked():
    needed = {"imagenet.tsv", "py.typed", "show/player.js", "show/player.css"}
    shipped = {f"weights/{name}.safetensors" for name in doctor.SHIPPED}
    assert len(shipped) > 5
    assert {f"minigen/{name}" for name in needed | shipped} <= {*TRACKED}


def test_other_bytes_are_seen(tmp_path):
    paths = [tmp_path / name / "a.whl" for name in ("one", "two")]
    for path, stamp in zip(paths, (1990, 1991), strict=True):
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(zipfile.ZipInfo("minigen/a", (stamp, 1, 1, 0, 0, 0)), "a")
    assert release.differing(paths[:1], paths[1:]) == ["a.whl differs"]
    assert release.differing(paths[:1], paths[:1]) == []


def test_changelog_and_citation_are_of_this_version():
    # what comes after it has no version yet
    changelog = read("CHANGELOG.md").replace("## Unreleased\n", "")
    assert release.undated(minigen.__version__, changelog, read("CITATION.cff")) == []
    for section in re.findall(r"^## (.+)", changelog, re.M):
        assert re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", section)


@pytest.mark.parametrize(
    "changelog, citation, wrong",
    [
        ("## 1.0", "version: 1.0\ndate-released: 2030-01-02", "begins with 1.0"),
        ("## 1.10 (2030-01-02)", "version: 1.0", "begins with 1.10"),
        ("## 1.0 (2030-01-02)", "version: 1.0", "is of nothing, and"),
        ("", "version: 1.0", "begins with nothing"),
    ],
)
def test_texts_of_another_version_are_named(changelog, citation, wrong):
    found = release.undated("1.0", changelog, citation)
    assert len(found) == 1 and wrong in found[0]


def test_what_the_owner_fills_in_is_named_until_it_is_there():
    texts = "version: 1\n", "[a](lessons/README.md) [b](https://example.org) [c](#d)"
    left = release.unfilled({"urls": {"Source": "https://example.org"}}, *texts)
    assert len(left) == 6 and not [each for each in left if "Source" in each]
    assert left[-1] == "README.md: 1 links that a package index cannot follow"
    table = {"authors": [], "urls": dict.fromkeys(release.URLS, "https://example.org")}
    texts = "version: 1\nrepository-code: https://example.org", "[c](#d)"
    assert release.unfilled(table, *texts) == []


SOURCES = sorted(Path(minigen.__file__).parent.rglob("*.py"))

IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] == "minigen":
            raise
        print(name)
"""
"""A program that imports modules, and prints those that need what is not here."""


@pytest.mark.filterwarnings("error")
def test_no_module_warns_when_it_is_compiled():
    for path in SOURCES:
        compile(path.read_bytes(), path, "exec")


def test_no_module_warns_when_it_is_imported():
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in SOURCES]
    modules = [
        ".".join(p).removesuffix(".__init__") for p in parts if p[-1] != "__main__"
    ]
    code = "import sys; sys.modules['torch'] = None" + IMPORT
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *modules],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    left = run.stdout.split()
    assert "minigen" in modules and len(modules) > 300
    if importlib.util.find_spec("numba"):
        assert {name.split(".")[1] for name in left} <= {"training", "cluster", "bench"}
