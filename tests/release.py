"""What is to be true before a release, tried by one command.

python -m tests.release                         the last commit; asks a package index
python -m tests.release --out dist              and keeps what was built
python -m tests.release --python python3.13     tries the wheel on this interpreter

The commit is built twice, from copies whose files differ in time, mode and order, and
once more from the archive of its sources. All must be the same bytes, and hold what is
tracked and nothing else. (They depend on the versions of hatchling and of zlib; that of
hatchling is printed.) Then the wheel is installed with what it requires, and nothing
else, and draws a digit. In the end stands what only the owner of the project can say.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath

from minigen import __version__, extras
from tests.pip_lines import ROOT, project

URLS = ("Homepage", "Source", "Issues", "Changelog")
"""What pyproject.toml's [project.urls] should name."""


def read(name: str) -> str:
    """Return a text of this checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def unpack(archive: Path, folder: Path) -> None:
    """Write what an archive holds into a folder."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def scatter(source: Path, target: Path) -> None:
    """Copy a folder so that its files have other times and modes, in another order."""
    for path in sorted(source.rglob("*"), reverse=True):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o600 | path.stat().st_mode & 0o100)
            os.utime(copy, (10**9, 10**9))


def build(python: Path, folder: Path, out: Path, epoch: int, umask: int) -> list[Path]:
    """Build sources and wheel of a folder with hatchling; return where they lie."""
    settings = {"SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": str(umask)}
    environment = {**os.environ, **settings}
    # hatchling would import what it finds here
    environment.pop("PYTHONPATH", None)
    command = [python, "-m", "hatchling", "build", "-d", out]
    run = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        umask=umask,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise RuntimeError(f"{folder} cannot be built: {run.stderr}")
    return sorted(out.iterdir())


def held(path: Path) -> list[str]:
    """Return the files in a wheel, or in an archive of sources without its folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.namelist()
    with tarfile.open(path) as sources:
        return [m.name.partition("/")[2] for m in sources if m.isfile()]


def expected(path: Path, tracked: Iterable[str]) -> list[str]:
    """Return the files that a wheel or an archive of sources should hold.

    >>> expected(Path("minigen_images-1.whl"), ["minigen/cli.py", "README.md"])[:2]
    ['minigen/cli.py', 'minigen_images-1.dist-info/METADATA']
    >>> expected(Path("minigen_images-1.tar.gz"), ["minigen/cli.py", "README.md"])
    ['minigen/cli.py', 'README.md', 'PKG-INFO']
    """
    if path.suffix != ".whl":
        return [*tracked, "PKG-INFO"]
    about = "-".join(path.stem.split("-")[:2]) + ".dist-info"
    names = ("METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "RECORD")
    code = [name for name in tracked if PurePosixPath(name).parts[0] == "minigen"]
    return [*code, *(f"{about}/{name}" for name in names)]


def strays(found: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Return a sentence for each file that is too many or missing.

    >>> strays(["minigen/cli.py", "sevens.png"], ["minigen/cli.py", "LICENSE"])
    ['sevens.png is not tracked', 'LICENSE is missing']
    """
    found, wanted = set(found), set(wanted)
    return [
        *(f"{name} is not tracked" for name in sorted(found - wanted)),
        *(f"{name} is missing" for name in sorted(wanted - found)),
    ]


def kinds(found: Iterable[str]) -> str:
    """Return how many files of each kind an archive holds, by folder.

    >>> kinds(["minigen/cli.py", "minigen/ops/rows/cpu.py", "minigen/a.tsv", "LICENSE"])
    '1 LICENSE, 1 minigen/*.tsv, 2 minigen/*.py'
    """
    counts = Counter()
    for path in map(PurePosixPath, sorted(found)):
        inside = len(path.parts) > 1
        counts[f"{path.parts[0]}/*{path.suffix}" if inside else path.name] += 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def differing(first: Iterable[Path], second: Iterable[Path]) -> list[str]:
    """Return a sentence for each file of which there are two that are not the same."""
    known = {path.name: path.read_bytes() for path in first}
    return [f"{p.name} differs" for p in second if known.get(p.name) != p.read_bytes()]


def undated(version: str, changelog: str, citation: str) -> list[str]:
    """Return what the texts of a release say otherwise than its version.

    >>> undated("1", "## 1 (2030-01-02)", "version: 1\\ndate-released: 2030-01-02")
    []
    >>> for wrong in undated("1.0", "## Unreleased", "version: 0.9"):
    ...     print(wrong)
    CHANGELOG.md begins with Unreleased, expected 1.0 (YEAR-MONTH-DAY)
    CITATION.cff is of version 0.9, expected 1.0
    """

    def said(pattern, text):
        match = re.search(pattern, text, re.M)
        return match[1] if match else "nothing"

    wrong, first = [], said(r"^## (.+)", changelog)
    date = re.fullmatch(re.escape(version) + r" \((\d{4}-\d\d-\d\d)\)", first)
    if not date:
        wrong += [
            f"CHANGELOG.md begins with {first}, expected {version} (YEAR-MONTH-DAY)"
        ]
    if (cited := said(r"^version: (.+)", citation)) != version:
        wrong += [f"CITATION.cff is of version {cited}, expected {version}"]
    if date and (day := said(r"^date-released: (.+)", citation)) != date[1]:
        wrong += [f"CITATION.cff is of {day}, and CHANGELOG.md of {date[1]}"]
    return wrong


def unfilled(table: dict, citation: str, readme: str) -> list[str]:
    """Return what the owner of the project has yet to fill in.

    table: [project] of pyproject.toml.
    """
    left = [
        f"pyproject.toml: {name} in [project.urls]"
        for name in URLS
        if name not in table.get("urls", {})
    ]
    if "authors" not in table:
        left += ["pyproject.toml: authors in [project]"]
    if "\nrepository-code:" not in citation:
        left += ["CITATION.cff: repository-code"]
    near = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", readme)
    if near:
        left += [f"README.md: {len(near)} links that a package index cannot follow"]
    return left


def environment(folder: Path, python: str) -> Path:
    """Make a fresh environment; return its folder of programs."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def drawn(wheel: Path, python: str, folder: Path) -> list[str]:
    """Install a wheel with what it requires, and draw a digit; return what failed."""
    programs, empty = environment(folder / "wheel", python), folder / "empty"
    empty.mkdir()
    settings = {**os.environ, "MINIGEN_CACHE": str(folder / "kernels")}
    # this checkout must not stand in for what is installed
    settings.pop("PYTHONPATH", None)
    for command in (
        ["python", "-m", "pip", "--disable-pip-version-check", "install", "-q", wheel],
        ["python", "-m", "pip", "--disable-pip-version-check", "check"],
        ["python", "-W", "error", "-c", "import minigen, minigen.cli"],
        ["minigen", "sample", "arpg-mnist", "--class", "7", "--out", "seven.png"],
        ["minigen", "replay", "seven.png"],
    ):
        run = subprocess.run(
            [programs / command[0], *command[1:]],
            cwd=empty, env=settings, capture_output=True, text=True,
        )  # fmt: skip
        if run.returncode:
            return [
                f"{' '.join(map(str, command))}: {(run.stdout + run.stderr).strip()}"
            ]
    said = subprocess.run(
        [programs / "minigen", "--version"], cwd=empty, capture_output=True, text=True
    ).stdout
    return (
        [] if said == f"minigen {__version__}\n" else [f"it says it is {said.strip()}"]
    )


def git(*arguments: str) -> str:
    """Return what git says of this checkout."""
    command = ["git", "-C", ROOT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def texts_hold() -> Iterator[tuple]:
    """Yield (what is to be true, what is wrong with it), of the checkout."""
    yield "the checkout is its last commit", git("status", "--porcelain").splitlines()
    tag, head = f"v{__version__}", git("rev-parse", "HEAD")
    tagged = git("tag", "--list", tag) and git("rev-parse", f"{tag}^{{commit}}")
    yield f"no other commit is {tag}", [tagged.strip()] * (tagged not in ("", head))
    wrong = undated(__version__, read("CHANGELOG.md"), read("CITATION.cff"))
    yield f"all say version {__version__}, and its day", wrong


def builds_hold(folder: Path, python: str) -> Iterator[tuple]:
    """Yield (what is to be true, what is wrong with it), of what the commit builds to.

    folder: where copies are made; "first" in it will hold what was built.
    """
    packed = folder / "packed.tar"
    git("archive", "-o", str(packed), "HEAD")
    unpack(packed, folder / "one")
    scatter(folder / "one", folder / "two")
    maker = environment(folder / "builder", sys.executable) / "python"
    pip = [maker, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "install", "hatchling"], check=True)
    code = "import importlib.metadata as m; print(m.version('hatchling'), end='')"
    hatchling = subprocess.check_output([maker, "-c", code], text=True)
    epoch = int(git("log", "-1", "--format=%ct"))
    first = build(maker, folder / "one", folder / "first", epoch, 0o022)
    second = build(maker, folder / "two", folder / "second", epoch, 0o077)
    what = f"two builds are the same bytes (hatchling {hatchling}, {epoch})"
    yield what, differing(first, second)

    tracked = git("ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")[:-1]
    for path in first:
        found, size = held(path), path.stat().st_size / 1e6
        what = f"{path.name} ({size:.1f} MB) holds what is tracked: {kinds(found)}"
        yield what, strays(found, expected(path, tracked))
    wheel, sources = sorted(first, key=lambda path: path.suffix != ".whl")
    pure = wheel.name.endswith("-py3-none-any.whl")
    yield "the wheel is pure Python", [] if pure else [wheel.name]

    unpack(sources, folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()
    again = build(maker, unpacked, folder / "third", epoch, 0o022)
    what = "the archive of the sources builds to itself and to that wheel"
    yield what, differing(first, again)
    yield f"the wheel alone draws a digit on {python}", drawn(wheel, python, folder)


def main() -> int:
    """Try all, print a line for each, return 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.release")
    parser.add_argument("--out", type=Path, help="a folder to keep what was built in")
    parser.add_argument("--python", default=sys.executable, help="to try the wheel on")
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for what, wrong in chain(texts_hold(), builds_hold(base, given.python)):
            print(f"{'WRONG' if wrong else 'ok':7}{what}", flush=True)
            for each in wrong:
                print(f"{'':7}  {each}", flush=True)
            failed += bool(wrong)
        if given.out and not failed:
            shutil.copytree(base / "first", given.out, dirs_exist_ok=True)
    for each in unfilled(project(), read("CITATION.cff"), read("README.md")):
        print(f"{'owner':7}{each}")
    print(f"{extras.DISTRIBUTION} {__version__}: {failed or 'nothing'} wrong")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
