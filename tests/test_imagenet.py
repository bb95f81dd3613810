"""Names of ImageNet's classes: which class they mean, and what is said where none."""

import json
import re

import pytest
from typer.testing import CliRunner

from minigen import imagenet
from minigen.cli import app
from minigen.commands.options import parse_classes, read_labels
from minigen.errors import InputError
from minigen.families import PRESETS


def test_every_class_can_be_named():
    assert len(imagenet.classes()) == imagenet.CLASSES == 1000
    identifiers = [each.identifier for each in imagenet.classes()]
    # by definition the classes are in the order of their identifiers
    assert identifiers == sorted({*identifiers})
    for each in imagenet.classes():
        assert re.fullmatch("n[0-9]{8}", each.identifier)
        assert each.names and each.kinds and all(each.names + each.kinds)
        for name in (each.identifier, each.called):
            assert imagenet.number_of(name) == each.number
        for name in each.names:
            # it cannot be taken for numbers, for none, or for several names
            assert re.search("[^\\W\\d_]", name) and name != "none" and "," not in name


@pytest.mark.parametrize(
    "number, name",
    [(0, "tench"), (207, "golden retriever"), (285, "Egyptian cat"),
     (999, "bathroom tissue"), (386, "African elephant"),
     (1, "Carassius auratus"), (8, "hen"), (639, "tank suit")],
)  # fmt: skip
def test_a_class_has_its_number(number, name):
    for said in (name, name.upper(), name.replace(" ", "_"), f" {name} "):
        assert imagenet.number_of(said) == number


@pytest.mark.parametrize(
    "name, said",
    [
        ("crane", "may be 134 crane (wading bird), 517 crane (lifting device)"),
        ("crane (fish)", "may be 134 crane (wading bird), 517 crane"),
        ("dog", "118 of them are of that kind"),
        ("golden retreiver", "did you mean golden retriever?"),
        ("retriever golden", "did you mean golden retriever?"),
        ("elephant", "are of that kind"),
        ("tabby cats", "did you mean tabby cat?"),
        ("", "is not the name"), ("x" * 500, "is not the name"), ("\x1b[31m", "is not"),
    ],
)  # fmt: skip
def test_what_is_no_name_gets_the_near_ones(name, said):
    with pytest.raises(InputError) as error:
        imagenet.number_of(name)
    assert said in str(error.value)


def test_names_are_for_models_of_1000_classes():
    assert parse_classes(["crane (bird),7", "golden retriever", "n01440764"], 1000) == [
        range(134, 135), range(7, 8), range(207, 208), range(1),
    ]  # fmt: skip
    labels, named = read_labels(["tench,none,2-3"], PRESETS["aim-b"], 2)
    assert labels == [0, 0, -1, -1, 2, 2, 3, 3] and named == 4
    with pytest.raises(InputError, match="not a class number.*ImageNet's 1000"):
        read_labels(["tench"], PRESETS["arpg-mnist"])
    with pytest.raises(InputError, match="1000 classes"):
        read_labels(["1000"], PRESETS["aim-b"])


def test_the_command_lists_names():
    def run(*words):
        return CliRunner().invoke(app, ["classes", *words])

    lines = run("golden", "retriever").stdout.splitlines()
    assert len(lines) == 2 and lines[1].split()[:2] == ["207", "n02099601"]
    assert len(run().stdout.splitlines()) == 1001
    found = json.loads(run("dog", "--json").stdout)
    assert 207 in [each["number"] for each in found]
    assert 281 not in [each["number"] for each in found]
    result = run("dgo")
    assert result.exit_code == 2 and "did you mean" in result.stderr
