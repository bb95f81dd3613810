"""A family of models: its record is whole, and every room knows what it names."""

import re
from dataclasses import fields
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

import minigen
from minigen import models
from minigen.catalogue import WEIGHTS
from minigen.checkpoints import names
from minigen.defaults import GENERAL
from minigen.families import FAMILIES, PRESETS, Family, module_of

ROOT = Path(minigen.__file__).parent
SETTINGS = {"order", "schedule", "guidance", "guidance_schedule", "temperature"}

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def small(family):
    """Return the names of the presets that ship: those that nobody released."""
    return [name for name in family.presets if name not in family.released]


def test_every_record_has_its_row():
    for path in (ROOT / "families").glob("[!_]*.py"):
        held = vars(import_module(f"minigen.families.{path.stem}")).values()
        for record in held:
            assert not isinstance(record, Family) or FAMILIES[path.stem] is record
    assert [*FAMILIES] == [family.name for family in FAMILIES.values()]
    assert len(PRESETS) == sum(len(family.presets) for family in FAMILIES.values())


def test_every_field_of_a_record_is_explained():
    said = re.findall(r"(\w+)(?=:|\()", Family.__doc__)
    assert {field.name for field in fields(Family)} <= {*said}


@each_family
def test_a_record_is_whole(family):
    assert family.model == f"minigen.models.{family.name}"
    assert family.twin.startswith(f"minigen.training.{family.name}:")
    assert all(type(config) is family.config for config in family.presets.values())
    assert all((WEIGHTS / f"{name}.safetensors").is_file() for name in small(family))
    assert bool(family.repository) == bool(family.released)
    assert bool(family.work) == (family.name != "judge")
    draws = bool(family.tokenizer)
    assert {*family.settings} == (SETTINGS if draws else set())
    assert [*family.own] == (small(family) if draws else [])
    for own in family.own.values():
        assert {*own} <= SETTINGS | {*GENERAL}
    if draws:
        assert FAMILIES[family.tokenizer].work and not FAMILIES[family.tokenizer].own


@pytest.mark.parametrize("tokenizer", ["vq", "kl"])
def test_generators_have_the_functions_that_the_loop_calls(tokenizer):
    """Those of `minigen.models`: what one generator of a kind has, all of it have."""
    documented = {*re.findall(r"^    (\w+)\(", models.__doc__, re.M)}
    kind = [f for f in FAMILIES.values() if f.tokenizer == tokenizer]
    found = {f.name: documented & {*dir(resolve_name(f.model))} for f in kind}
    wanted = set.union(*found.values())
    assert found == {name: wanted for name in found} and len(wanted) > 5
    functions = {"check_tokens", "to_images", "from_images"}
    assert functions <= {*dir(resolve_name(FAMILIES[tokenizer].model))}


@pytest.mark.needs("torch")
@each_family
def test_a_twin_has_the_names_of_the_weights_and_is_trained(family):
    import torch

    from minigen.training.__main__ import TASKS

    for config in map(family.presets.get, small(family)):
        with torch.device("meta"):
            state = resolve_name(family.twin)(config).state_dict()
        shapes = {
            name: tuple(array.shape)
            for name, array in state.items()
            if not any(fnmatchcase(name, pattern) for pattern in family.dropped)
        }
        assert shapes == names.manifest(config)
        assert module_of(config).__name__ == family.model
    module, first = resolve_name(family.twin.partition(":")[0]), small(family)[0]
    assert TASKS[first.removesuffix("-mnist")] is module
    assert module.train and {"steps", "batch", "rate"} <= {*module.DEFAULTS}
