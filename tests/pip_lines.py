"""Every `pip install` line that a reader of this repository may copy.

python -m tests.pip_lines       print those that name an extra of ours, each once
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from minigen import extras

try:
    import tomllib
except ModuleNotFoundError:
    # Python 3.10 has none, but pytest brings it
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
KINDS = (".md", ".py", ".toml", ".cff", ".txt", ".yml")

# up to what ends a line of code: a backtick, a comment, another command
LINE = re.compile(
    r"\bpip (?:install|download) [^`#;\n]*?(?=`|\s#|\s*&&|;|\)?\s*$)", re.M
)


def tracked() -> list[Path]:
    """Return the files of the repository, also where they came in an archive."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True
        ).stdout.split("\0")
        paths = [ROOT / name for name in listed if name]
    except FileNotFoundError:
        paths = []
    # an archive of the sources holds what is tracked, and what is said of it
    made = {".venv", "__pycache__", ".hypothesis", ".pytest_cache", "PKG-INFO"}
    return paths or [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not made & {*path.relative_to(ROOT).parts}
    ]


def texts() -> dict[Path, str]:
    """Return the texts of the repository, but for tests: they quote what is wrong."""
    return {
        path: path.read_text(encoding="utf-8")
        for path in sorted(tracked())
        if path.is_file() and (path.suffix in KINDS or path == ROOT / ".ci" / "run")
        if ROOT / "tests" not in path.parents or path.suffix == ".md"
    }


def written() -> list[tuple[str, str]]:
    """Return (file, line) of every line that is written somewhere."""
    found = []
    for path, text in texts().items():
        if path not in (ROOT / "minigen" / "extras.py", ROOT / ".ci" / "run"):
            name = path.relative_to(ROOT).as_posix()
            found += [(name, line.strip()) for line in LINE.findall(text)]
    return found


def said() -> list[tuple[str, str]]:
    """Return (what for, line) of every line that a message may name."""
    found = [
        (f"[{extra}]", extras.install(extra))
        for extra in project()["optional-dependencies"]
    ]
    return found + [(name, extras.packages(name)) for name in extras.REQUIRED]


def project() -> dict:
    """Return the table [project] of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]


def arguments(line: str) -> list[str]:
    """Return what a line installs, without its options.

    >>> arguments('pip download -d wheels ".[test]"')
    ['.[test]']
    """
    words = shlex.split(line)[2:]
    for option in ("-d", "--index-url"):
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    return [word for word in words if not word.startswith("-")]


def main() -> None:
    """Print each combination of extras that some line names, as a line to try here."""
    named = [word for _, line in written() + said() for word in arguments(line)]
    found = {match[0] for word in named if (match := re.search(r"\[[\w,-]+\]$", word))}
    for extra in sorted(found):
        print(f'pip install --dry-run ".{extra}"')


if __name__ == "__main__":
    main()
