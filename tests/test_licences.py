"""What is said of licences and of where things come from, wherever it is said."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import minigen
from minigen import catalogue
from minigen.cli import app
from minigen.families import FAMILIES

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def command(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_what_ships_is_under_the_licence_of_mnist():
    rows = {row["name"]: row for row in command("models")}
    for model in minigen.known_models():
        row = rows[model.name]
        assert (row["licence"], row["origin"]) == (model.licence, model.origin)
        assert (row["licence"] == catalogue.LICENCE) == (row["bytes"] is not None)
    assert "MIT" not in {row["licence"] for row in rows.values()}
    assert rows["arinar-b"]["licence"] == "unknown"


@pytest.mark.parametrize("name", ["vq-mnist", "judge-mnist"])
def test_info_says_the_licence_wherever_the_file_lies(name, tmp_path):
    copied = tmp_path / "copied.safetensors"
    shutil.copy(catalogue.WEIGHTS / f"{name}.safetensors", copied)
    assert command("info", name)["licence"] == catalogue.LICENCE
    assert command("info", copied)["licence"] == catalogue.LICENCE
    assert command("info", "mar-b")["licence"] == "code: MIT"


def test_licence_credits_every_project():
    lines = read("LICENSE").splitlines()
    for family in FAMILIES.values():
        if family.repository:
            where = f"github.com/{family.repository} "
            credit = next(line for line in lines if where in line)
            assert (family.licence or "none was found") in credit
    assert "by-sa/3.0" in read("LICENSE")
    assert catalogue.LICENCE in read("minigen/weights/README.md")
    whole = f"MIT AND {catalogue.LICENCE} AND LicenseRef-WordNet-3.0"
    assert f'license = "{whole}"' in read("pyproject.toml")


def test_names_of_classes_are_under_the_licence_of_wordnet():
    """Its notice has to appear on all copies."""
    said = read("LICENSE")
    assert "minigen/imagenet.tsv" in said and "https://wordnet.princeton.edu" in said
    assert "WordNet 3.0 Copyright 2006 by Princeton University." in said
    assert "Permission to use, copy, modify and distribute this software and" in said
    assert 'IS PROVIDED "AS IS" AND PRINCETON' in said


def test_citation_is_of_this_version_and_of_every_paper():
    citation = read("CITATION.cff")
    assert f"\nversion: {minigen.__version__}\n" in citation
    named = re.findall(r"arxiv.org/abs/([\d.]+)", read("README.md"))
    cited = re.findall(r"arxiv.org/abs/([\d.]+)", citation)
    assert len(cited) == 5 and {*cited} == {*named}
    assert re.findall(r"arXiv:([\d.]+)", citation) == cited
