"""Every command that installs something: messages take theirs from here.

The name `minigen` on the package index belongs to somebody else. So an extra is
installed from the folder that minigen came from, or, where that is gone or it came as a
wheel, by naming the packages that the extra consists of.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "minigen-images"
"""What pip calls minigen."""

REQUIRED = {
    "numpy": ("numpy", "1.26"),
    "numba": ("numba", "0.60"),
    "pillow": ("PIL", "10.1"),
    "ml_dtypes": ("ml_dtypes", "0.4"),
    "typer": ("typer", "0.16"),
    "rich": ("rich", "13"),
}
"""Each package minigen needs: the module it gives, and its lowest version."""


def install(extra: str) -> str:
    """Return the command that installs what an extra of minigen needs."""
    folder, editable = source()
    if folder:
        return f'pip install {"-e " if editable else ""}"{folder}[{extra}]"'
    wanted = requirements(extra)
    # without metadata nothing is known but the name of the extra
    return pip(wanted) if wanted else f'pip install ".[{extra}]"'


def packages(*names: str, options: str = "") -> str:
    """Return the command that installs packages of REQUIRED, new enough.

    >>> packages("numba", options="--upgrade")
    'pip install --upgrade "numba>=0.60"'
    """
    return pip([f"{name}>={REQUIRED[name][1]}" for name in names], options)


def again() -> str:
    """Return the command that installs minigen anew, or "" where none is known."""
    folder, editable = source()
    if not folder or editable or folder == _beside():
        return ""
    return f'pip install --force-reinstall --no-deps "{folder}"'


def pip(wanted: list[str], options: str = "") -> str:
    """Return the command that installs requirements, each in quotes."""
    quoted = [f'"{requirement}"' for requirement in wanted]
    return " ".join(["pip install", *options.split(), *quoted])


def source() -> tuple[Path | None, bool]:
    """Return the folder of minigen's sources, and whether they are installed editable.

    It is the checkout that this file lies in, else the one that minigen was installed
    from (PEP 610), if it is still there, else None.
    """
    origin = {}
    with suppress(metadata.PackageNotFoundError):
        text = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        origin = json.loads(text or "{}")
    editable = origin.get("dir_info", {}).get("editable", False)
    folders = [_beside()]
    if "dir_info" in origin:
        # the protocols that this imports take longer than all of minigen's modules
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        folders.append(Path(url2pathname(urlsplit(origin["url"]).path)))
    return next((folder for folder in folders if _is_ours(folder)), None), editable


def requirements(extra: str) -> list[str]:
    """Return what an extra consists of, as the metadata of minigen say it."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        requirement, _, marker = line.replace('"', "'").partition(";")
        condition, _, name = marker.rpartition("extra == ")
        if name.strip(" ')") == extra:
            # what comes before " and extra ==" stays a condition
            condition = condition.strip().removesuffix(" and")
            found.append("; ".join(filter(None, (requirement.strip(), condition))))
    return found


def _beside():
    return Path(__file__).resolve().parents[1]


def _is_ours(folder):
    project = folder / "pyproject.toml"
    if not project.is_file():
        return False
    text = project.read_text(encoding="utf-8", errors="replace")
    return re.search(rf'^name = "{DISTRIBUTION}"$', text, re.M) is not None
