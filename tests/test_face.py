"""What a program sees of minigen: its names, and its objects as Python handles them."""

import ast
import copy
import inspect
import os
import pickle
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minigen
from minigen import catalogue, evaluate, plans
from minigen.checkpoints import load_model
from minigen.errors import BackendError, KernelError
from minigen.families import PRESETS
from minigen.ops.silu import reference
from minigen.show.recipe import Recipe

CALL = {"seed": 3, "steps": 2, "order": "halton"}


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


@pytest.fixture(scope="module")
def step(pipe):
    return next(pipe.steps([7], **CALL))


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True)


def shell(folder, *arguments, **environment):
    """Run the command line in an empty home; return what it printed."""
    environment = {**os.environ, "HOME": str(folder), **environment}
    command = [sys.executable, "-m", "minigen", *arguments]
    said = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return said.stdout


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_one_line(option, tmp_path):
    assert shell(tmp_path, option) == f"minigen {minigen.__version__}\n"


COMPLETED = {
    "minigen sam": ["sample"],
    "minigen sample ar": ["arinar-mnist", "arpg-mnist", "arpg-mnist-control"],
    "minigen sample /no/file": [],
    "minigen sample gpt-mnist --order h": ["halton"],
    "minigen sample gpt-mnist --schedule c": ["cosine"],
    "minigen sample gpt-mnist --backend nu": ["numpy", "numba"],
    "minigen bench c": ["cpu"],
}


@pytest.mark.parametrize("line, words", COMPLETED.items())
def test_a_shell_completes(line, words, tmp_path):
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    said = shell(tmp_path, _MINIGEN_COMPLETE="complete_bash", **asked)
    assert said.split() == words


def test_completion_writes_nothing_unasked(tmp_path):
    assert "--install-completion" in shell(tmp_path, "--help")
    # what started the tests need not be a shell, which would be found and taken
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = shell(tmp_path, "--show-completion", "bash", **named)
    assert "_MINIGEN_COMPLETE" in shown
    assert list(tmp_path.iterdir()) == []


def test_every_name_of_the_face_is_there():
    for name in minigen.__all__:
        assert getattr(minigen, name) is not None and name in dir(minigen)
    lazy = [name for names in minigen._FACE.values() for name in names]
    assert {*lazy, "LETTERS", "__version__"} == {*minigen.__all__}
    assert minigen.errors.MinigenError and minigen.evaluate.frechet


def test_a_star_import_brings_every_name():
    brought = {}
    exec("from minigen import *", brought)
    assert {*minigen.__all__} <= {*brought}


def test_a_checker_is_told_of_every_name():
    lines = inspect.getsource(minigen).split("if TYPE_CHECKING:")[1].split("else:")[0]
    told = re.findall(r"from (\S+) import (.+)", lines)
    told = {module: tuple(names.split(", ")) for module, names in told}
    assert told == minigen._FACE


@pytest.mark.parametrize("wrong, near", [("lod", "load"), ("Pipline", "Pipeline")])
def test_a_misspelt_name_brings_the_near_one(wrong, near):
    said = run("-c", f"import minigen; minigen.{wrong}").stderr
    assert said.splitlines()[-1] == (
        f"AttributeError: module 'minigen' has no attribute '{wrong}'. "
        f"Did you mean: '{near}'?"
    )


def public(value):
    """Yield the functions and methods of a public object that a caller may call."""
    if inspect.isfunction(value):
        yield value
    elif inspect.isclass(value):
        parts = (getattr(part, "__func__", part) for part in vars(value).values())
        yield from (f for f in parts if inspect.isfunction(f) and f.__name__[0] != "_")
    elif inspect.ismodule(value):
        for part in vars(value).values():
            if getattr(part, "__module__", "") == value.__name__:
                yield from public(part)


def test_every_argument_and_result_is_annotated():
    kinds = {type(config) for config in PRESETS.values()}
    for value in (*(getattr(minigen, name) for name in minigen.__all__), *kinds):
        for function in public(value):
            signature = inspect.signature(function)
            assert signature.return_annotation is not signature.empty, function
            for name, parameter in signature.parameters.items():
                has = parameter.annotation is not parameter.empty
                assert has or name in ("self", "cls"), (function, name)


def test_a_misspelt_option_is_an_error_of_the_call(pipe):
    for method in (pipe.sample, pipe.steps, pipe.options, pipe.settle):
        arguments = [[7]] if method in (pipe.sample, pipe.steps) else []
        with pytest.raises(TypeError, match="'guidence'"):
            method(*arguments, guidence=4.0)


def test_options_have_the_defaults_of_a_pipelines_methods(pipe):
    own = {f.name: f.default for f in fields(minigen.Options)}
    for method in (pipe.sample, pipe.steps, pipe.options):
        for name, parameter in inspect.signature(method).parameters.items():
            if name in own and parameter.default is not None:
                assert parameter.default == own[name], name


def test_pipelines_are_equal_that_draw_the_same(pipe):
    again = minigen.load("arpg-mnist", backend="numpy")
    assert pipe == again and hash(pipe) == hash(again) and len({pipe, again}) == 1
    assert pipe != minigen.load("gpt-mnist", backend="numpy")
    assert pipe != replace(pipe, backend="numba")
    assert pipe != "arpg-mnist" and pipe.generator != pipe.tokenizer
    assert len(repr(pipe)) < 1000


def test_a_model_is_its_configuration_and_weights(tmp_path):
    copied = tmp_path / "copied.safetensors"
    copied.write_bytes((catalogue.WEIGHTS / "vq-mnist.safetensors").read_bytes())
    one = load_model(catalogue.WEIGHTS / "vq-mnist.safetensors")
    other = load_model(copied)
    assert one == other and hash(one) == hash(other) and one.path != other.path
    # no hash is stored here: the weights themselves are compared
    assert replace(one, metadata={}) == other
    weights = {**one.weights, "codebook": one.weights["codebook"][::-1]}
    assert replace(one, metadata={}, weights=weights) != other


def test_steps_are_equal_that_hold_the_same(pipe, step):
    again = next(pipe.steps([7], **CALL))
    assert step == again and hash(step) == hash(again)
    for name in ("tokens", "canvas", "probabilities"):
        array = getattr(step, name).copy()
        array.flat[0] += 1
        assert step != replace(step, **{name: array}), name
    assert step != replace(step, index=9) and step != 0
    unknown = replace(step, canvas=np.array([np.nan]))
    assert unknown == replace(step, canvas=np.array([np.nan]))


def test_statistics_are_equal_that_hold_the_same():
    one = evaluate.Statistics(np.zeros(2), np.eye(2))
    assert one == evaluate.Statistics(np.zeros(2), np.eye(2))
    assert one != evaluate.Statistics(np.ones(2), np.eye(2))


def test_reports_and_recipes_have_a_hash(tmp_path):
    path = catalogue.WEIGHTS / "judge-mnist.safetensors"
    report = minigen.convert(path, tmp_path / "a.safetensors")
    assert hash(report) == hash(replace(report))
    recipe = Recipe("arpg-mnist", (7,))
    assert hash(recipe) == hash(replace(recipe))


ARRAYS = re.compile(r"ndarray|NDArray|\bobject\b|\bAny\b|SimpleNamespace")


def compared_arrays(source):
    """Yield (class, field) where a frozen dataclass would compare or hash arrays."""
    for kind in ast.walk(ast.parse(source)):
        if not isinstance(kind, ast.ClassDef):
            continue
        how = " ".join(map(ast.unparse, kind.decorator_list))
        for line in kind.body if "frozen=True" in how and "eq=False" not in how else ():
            if isinstance(line, ast.AnnAssign):
                value = ast.unparse(line.value) if line.value else ""
                left_out = re.search("(compare|hash)=False", value)
                if ARRAYS.search(ast.unparse(line.annotation)) and not left_out:
                    yield kind.name, line.target.id


def test_no_class_that_holds_arrays_compares_them_as_numbers():
    for path in Path(minigen.__file__).parent.rglob("*.py"):
        found = list(compared_arrays(path.read_text(encoding="utf-8")))
        assert not found, f"{path}: say what == and hash mean: {found}"
    bad = "@dataclass(frozen=True)\nclass State:\n    x: np.ndarray = field(repr=False)"
    assert [*compared_arrays(bad)] == [("State", "x")]


COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
def test_what_is_copied_is_equal(how, pipe, step):
    plan = plans.plan((4, 4), "spiral")
    for value in (pipe, pipe.generator, step, plan, pipe.options(), pipe.config):
        again = COPIES[how](value)
        assert again == value and hash(again) == hash(value), value
    again = COPIES[how](pipe)
    assert np.array_equal(again.sample([7], **CALL), pipe.sample([7], **CALL))


def twice_silu(x):
    return 2 * reference.silu(x)


@pytest.mark.parametrize("how", COPIES)
def test_a_pipeline_is_copied_with_a_function_put_in_its_table(how, pipe):
    ops = SimpleNamespace(**{**vars(pipe.ops), "silu": twice_silu})
    again = COPIES[how](replace(pipe, ops=ops))
    assert again.ops.silu is twice_silu
    assert COPIES[how](pipe).ops.silu(np.zeros((1, 1, 1), np.float32)) == 0


@pytest.mark.parametrize("how", COPIES)
def test_a_pipeline_on_a_device_says_that_it_cannot_be_copied(how, pipe):
    there = SimpleNamespace(**{**vars(pipe.ops), "device": object()})
    with pytest.raises(BackendError, match="call minigen.load where it is needed"):
        COPIES[how](replace(pipe, backend="interpreter", ops=there))


@pytest.mark.parametrize("how", COPIES)
def test_an_error_is_copied_whole(how):
    for name, kind in vars(minigen.errors).items():
        if inspect.isclass(kind) and issubclass(kind, Exception):
            words = ("race", "two threads") if kind is KernelError else ("wrong",)
            again = COPIES[how](kind(*words))
            assert type(again) is kind and str(again) == ": ".join(words), name
            assert again.__dict__ == kind(*words).__dict__


def test_the_catalogue_knows_what_ships():
    known = minigen.known_models()
    assert [model.name for model in known] == list(PRESETS)
    files = {path.stem for path in catalogue.WEIGHTS.glob("*.safetensors")}
    assert {model.name for model in known if model.ships} == files
    assert files - {"judge-mnist"} == {
        *catalogue.TOKENIZERS,
        *catalogue.TOKENIZERS.values(),
    }
    for model in known:
        stored = load_model(model.path).config if model.path else model.config
        assert model.config == stored == PRESETS[model.name]
        assert (model.licence == "CC-BY-SA-3.0") == model.ships
