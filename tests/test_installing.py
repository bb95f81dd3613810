"""What a reader is told to install can be installed, and from here."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from minigen import doctor, extras
from tests import pip_lines, versions

PROJECT = pip_lines.project()
EXTRAS = PROJECT["optional-dependencies"]
OWN = re.compile(r"minigen" r"\[[a-z]|pip\s+install\s+(-\S+\s+)*[\"']?minigen\b")
LINES = sorted({*pip_lines.written(), *pip_lines.said()})


def name_of(requirement):
    """Return the package that a requirement names, as an index spells it."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def known():
    lists = [PROJECT["dependencies"], *EXTRAS.values()]
    return {name_of(requirement) for wanted in lists for requirement in wanted}


@pytest.mark.parametrize("where, line", LINES, ids=" ".join)
def test_a_line_names_an_extra_of_ours_or_a_package_that_is_needed(where, line):
    for word in pip_lines.arguments(line):
        ours = re.fullmatch(r"(\.|/.*?|[A-Z]:.*?)(?:\[([\w,-]+)\])?", word)
        if ours:
            assert {*(ours[2] or "check").split(",")} <= {*EXTRAS}, line
        else:
            assert name_of(word) in known(), line


def test_no_text_says_to_install_a_stranger_s_package():
    texts = pip_lines.texts()
    assert {"README.md", "CONTRIBUTING.md", "doctor.py"} <= {p.name for p in texts}
    assert not [path for path, text in texts.items() if OWN.search(text)]


def test_every_line_of_a_message_is_made_in_one_file():
    for path, text in pip_lines.texts().items():
        if path.parent.name == "minigen" or "minigen/" in path.as_posix():
            for line in re.findall(r".*pip install.*", text):
                written = re.search(r'`pip install "\.\[\w+\]"`', line)
                assert path.name == "extras.py" or written, (path, line)


def test_an_extra_asks_no_index_for_its_own_project():
    for wanted in EXTRAS.values():
        assert not {name_of(r) for r in wanted} & {"minigen", extras.DISTRIBUTION}
    parts = [r for extra in ("check", "lessons", "cuda13") for r in EXTRAS[extra]]
    assert set(parts) <= {requirement.split(";")[0] for requirement in EXTRAS["test"]}
    # lessons check kernels, and one reads what the compiler made of them
    run = {*EXTRAS["check"], *EXTRAS["cuda13"]}
    assert run <= {requirement.split(";")[0] for requirement in EXTRAS["site"]}


def test_what_is_required_is_what_the_project_declares():
    declared = [f"{name}>={low}" for name, (_, low) in extras.REQUIRED.items()]
    assert declared == PROJECT["dependencies"]
    assert PROJECT["name"] == extras.DISTRIBUTION
    assert PROJECT["requires-python"] == ">={}.{}".format(*doctor.PYTHON)


def test_doctor_looks_for_what_an_extra_consists_of():
    assert set(EXTRAS) == set(doctor.EXTRAS)
    for extra, (packages, _) in doctor.EXTRAS.items():
        # numpy is bounded there, but needed by all
        wanted = {name_of(requirement) for requirement in EXTRAS[extra]} - {"numpy"}
        # the parts that numba-cuda has extras for come with these
        parts = {name for name in packages if name.startswith("nvidia-")}
        assert wanted == {*packages} - (parts if extra.startswith("cuda") else set())


def test_every_package_that_is_required_is_imported():
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for path in Path(extras.__file__).parent.rglob("*.py")
    )
    for module, _ in extras.REQUIRED.values():
        assert re.search(rf"^\s*(?:import|from) {module}\b", sources, re.M), module


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Pretend that minigen lies in a site-packages, and say where it came from."""

    def pretend(origin=None, requires=()):
        text = json.dumps(origin) if origin else None
        found = SimpleNamespace(read_text=lambda name: text, requires=[*requires])
        monkeypatch.setattr(metadata, "distribution", lambda name: found)
        monkeypatch.setattr(metadata, "requires", lambda name: found.requires)

    monkeypatch.setattr(extras, "_beside", lambda: tmp_path / "site-packages")
    return pretend


def folder(path, name=extras.DISTRIBUTION):
    path.mkdir()
    (path / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    return path


REQUIRES = [
    "numpy>=1.26",
    "hypothesis>=6.100; extra == 'check'",
    'greenlet>=3.0; extra == "check"',
    "numba-cuda[cu13]>=0.30; (sys_platform != 'darwin') and extra == 'test'",
    "checkers; extra == 'checkers'",
]


def test_from_a_checkout_an_extra_is_installed_from_that_checkout():
    root = pip_lines.ROOT
    line = extras.install("check")
    assert line.replace("-e ", "") == f'pip install "{root}[check]"'
    assert extras.again() == ""


def test_from_a_wheel_an_extra_is_installed_by_its_packages(installed):
    installed({"url": "file:///w/x.whl", "archive_info": {}}, REQUIRES)
    assert extras.install("check") == 'pip install "hypothesis>=6.100" "greenlet>=3.0"'
    assert extras.install("test") == (
        "pip install \"numba-cuda[cu13]>=0.30; (sys_platform != 'darwin')\""
    )
    assert extras.again() == ""


def test_from_a_folder_an_extra_is_installed_from_there_while_it_is_there(
    installed, tmp_path
):
    home = folder(tmp_path / "a check out")
    installed({"url": home.as_uri(), "dir_info": {}}, REQUIRES)
    assert extras.install("check") == f'pip install "{home}[check]"'
    assert extras.again() == f'pip install --force-reinstall --no-deps "{home}"'
    installed({"url": home.as_uri(), "dir_info": {"editable": True}}, REQUIRES)
    assert extras.install("check") == f'pip install -e "{home}[check]"'
    (home / "pyproject.toml").write_text('[project]\nname = "else"\n')
    assert extras.install("check") == 'pip install "hypothesis>=6.100" "greenlet>=3.0"'
    assert extras.again() == ""


def test_without_metadata_the_extra_is_named(installed, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    monkeypatch.setattr(metadata, "requires", missing)
    assert extras.install("check") == 'pip install ".[check]"'


def test_doctor_never_reinstalls_minigen_from_an_index(installed, monkeypatch):
    installed()
    monkeypatch.setattr(doctor.Path, "is_file", lambda path: False)
    finding = doctor.examine_weights()
    assert not finding.well and finding.mend == ""
    assert "install minigen again" in finding.note


def test_ci_runs_the_two_commands_of_the_readme_before_anything_else_is_installed():
    script = (pip_lines.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    first, second = script.index('eval "$command"'), script.index("\npip install")
    assert script.index("fresh newcomer") < first < script.index("fresh developer")
    assert script.index("fresh developer") < second
    readme = (pip_lines.ROOT / "README.md").read_text(encoding="utf-8")
    fenced = re.findall(r"^pip install .*", readme, re.M)[:2]
    assert fenced[0].startswith("pip install . && minigen sample")
    assert fenced[1] == 'pip install ".[test]" && python -m pytest -n auto'


def test_the_lines_to_try_are_printed_once_each():
    command = [sys.executable, "-m", "tests.pip_lines"]
    out = subprocess.run(command, cwd=pip_lines.ROOT, capture_output=True, text=True)
    lines = out.stdout.splitlines()
    assert 'pip install --dry-run ".[check]"' in lines, out.stderr
    assert len(lines) == len(set(lines)) >= len(EXTRAS)


@pytest.mark.skipif(os.name == "nt", reason="a name of a program ends in .exe there")
def test_a_name_of_an_interpreter_that_is_not_installed_is_none(tmp_path, monkeypatch):
    # pyenv has such a name for each version it could install
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert versions.is_here(sys.executable) and not versions.is_here("python3.99")
