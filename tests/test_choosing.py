"""The backend `auto`: decided by the work alone, said, kept, and without Numba."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from minigen import backends, choosing, kernel_cache
from minigen.bench import backends as measuring
from minigen.bench.backends import Side
from minigen.catalogue import TOKENIZERS
from minigen.choosing import TIMES, Times
from minigen.cli import app
from minigen.errors import InputError
from minigen.families import FAMILIES, PRESETS, GeneratorConfig, family_of
from minigen.pipeline import BATCH, load
from minigen.show import files
from minigen.words import markdown

GENERATORS = {n: c for n, c in PRESETS.items() if isinstance(c, GeneratorConfig)}


@pytest.fixture
def minigen(tmp_path, monkeypatch):
    """Run the command line in an empty folder, on a machine without a GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(backends, "_has_gpu", lambda: False)

    def run(*arguments, status=0):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.stdout, result.stderr

    return run


def with_kernels(monkeypatch):
    """Let one image of any model be work for kernels."""
    dear = Times((1e6, 1e6), (1e-6, 1e-6), 1e-6, 1e-6)
    monkeypatch.setattr(choosing, "TIMES", dict.fromkeys(TIMES, dear))


def test_every_family_of_generators_has_times_by_which_kernels_are_faster():
    assert {*TIMES} == {name for name, f in FAMILIES.items() if f.tokenizer}
    for times in TIMES.values():
        assert 0 < times.numba[0] < times.numpy[0]
        assert 0 < times.load < times.compile


@pytest.mark.parametrize("name", TOKENIZERS)
def test_where_the_choice_changes_both_mistakes_cost_the_same(name):
    configs, counts = choosing.drawn_by_default(name, PRESETS[name])
    most, times = choosing.usual(name, PRESETS[name], BATCH), TIMES[
        family_of(PRESETS[name]).name
    ]  # fmt: skip
    assert 0 < most < 10_000

    def mistakes(images):
        """Return how many times as long it takes to compile for a run that NumPy was
        the choice for, and to draw in NumPy where kernels lay ready."""
        operations, steps = choosing.work(*configs, images, counts, BATCH)
        numpy, numba = (a * operations / 1e9 + b * steps
                        for a, b in (times.numpy, times.numba))  # fmt: skip
        return (times.compile + numba) / numpy, numpy / (times.load + numba)

    compiled, drawn = mistakes(most)
    assert compiled >= drawn
    compiled, drawn = mistakes(most + 1)
    assert compiled < drawn


@pytest.mark.parametrize("name", [n for n in GENERATORS if n not in TOKENIZERS])
def test_what_was_released_is_always_drawn_by_kernels(name):
    assert choosing.usual(name, GENERATORS[name], BATCH) == 0


def test_more_images_steps_or_pixels_are_more_work():
    (generator, tokenizer), counts = choosing.drawn_by_default(
        "arpg-mnist", PRESETS["arpg-mnist"]
    )
    operations, steps = choosing.work(generator, tokenizer, 9, counts, 8)
    assert steps == 2 * len(counts)
    assert choosing.work(generator, tokenizer, 8, counts, 8)[0] < operations
    assert choosing.work(generator, tokenizer, 9, (1,) * 64, 8)[1] == 2 * 64
    one_by_one = choosing.work(generator, tokenizer, 9, counts, 1)
    # the same rows are multiplied, in more calls
    assert one_by_one == (pytest.approx(operations), 9 * len(counts))
    wide = replace(tokenizer, base=2 * tokenizer.base)
    assert choosing.work(generator, wide, 9, counts, 8)[0] > operations
    # twice the tokens are twice the pixels, and counts stay what they are
    longer = choosing.work(generator, tokenizer, 9, counts, 8, grid=(8, 16))
    pixels = 9 * family_of(tokenizer).work(tokenizer, (8, 8), 4, 1).operations
    assert longer[0] - operations > 0.9 * pixels


def test_a_pipeline_is_chosen_by_its_images_alone(monkeypatch):
    def looked(*arguments):
        raise AssertionError("the choice looked at what the machine holds")

    monkeypatch.setattr(kernel_cache, "location", looked)
    monkeypatch.setattr("os.getloadavg", looked, raising=False)
    monkeypatch.setattr(backends, "_has_gpu", lambda: False)
    most = choosing.usual("arpg-mnist", PRESETS["arpg-mnist"], BATCH)
    pipe = load("arpg-mnist")
    assert pipe.backend == "numpy"
    assert load("arpg-mnist", images=most).backend == "numpy"
    fastest = backends.fastest()
    assert load("arpg-mnist", images=most + 1).backend == fastest
    # a step draws few tokens, or many
    assert pipe.choose(pipe.plan(steps=64), most)[0] == "numpy"
    with pytest.raises(InputError, match="images 0 is not an integer of at least 1"):
        load("arpg-mnist", images=0)


def test_without_numba_it_is_numpy(monkeypatch):
    monkeypatch.setattr(backends, "has_numba", lambda: False)
    pipe = load("arpg-mnist", images=10**6)
    assert pipe.backend == "numpy"
    assert pipe.choose(pipe.plan(), 10**6) == ("numpy", "numpy, since Numba is not "
                                               "installed")  # fmt: skip


def test_a_gpu_takes_the_place_of_numba(monkeypatch):
    monkeypatch.setattr(backends, "has_numba", lambda: True)
    monkeypatch.setattr(backends, "_has_gpu", lambda: True)
    pipe = load("arpg-mnist")
    most = choosing.usual("arpg-mnist", PRESETS["arpg-mnist"], BATCH)
    assert pipe.choose(pipe.plan(), most)[0] == "numpy"
    assert pipe.choose(pipe.plan(), most + 1)[0] == "cuda"


@pytest.mark.skipif(not backends.has_numba(), reason="needs Numba")
def test_a_command_says_and_keeps_what_it_chose(minigen):
    most = choosing.usual("arpg-mnist", PRESETS["arpg-mnist"], BATCH)
    said, aside = minigen("sample", "arpg-mnist", "-c", "7", "--out", "a.png")
    assert aside == f"backend: numpy, as for up to {most} images\n"
    assert said.startswith("a.png  1 image")
    assert files.read_png("a.png")[1]["versions"]["backend"] == "numpy"
    said, aside = minigen("sample", "arpg-mnist", "-c", "7", "--json")
    assert json.loads(said)["recipe"]["versions"]["backend"] == "numpy"
    said, _ = minigen("info", "arpg-mnist")
    assert f"numpy up to {most} images, then the fastest backend" in said
    # who names it is told nothing
    _, aside = minigen("steps", "arpg-mnist", "-c", "7", "--backend", "numpy")
    assert aside == ""


def test_info_says_nothing_of_a_choice_for_what_draws_nothing(minigen):
    assert "numpy" not in minigen("info", "vq-mnist")[0]
    assert "the fastest backend that is here" in minigen("info", "arpg-l")[0]


@pytest.mark.skipif(not backends.has_numba(), reason="needs Numba")
def test_much_work_and_whoever_sets_threads_gets_kernels(minigen, monkeypatch):
    draw = ("sample", "arpg-mnist", "-c", "7", "--steps", "2")
    minigen(*draw, "--threads", "1", "--out", "a.png")
    assert files.read_png("a.png")[1]["versions"]["backend"] == "numba"
    with_kernels(monkeypatch)
    _, aside = minigen(*draw, "--out", "b.png")
    assert aside == "backend: numba, as for any number of images\n"
    assert files.read_png("b.png")[1]["versions"]["backend"] == "numba"


@pytest.mark.skipif(not backends.has_numba(), reason="needs Numba")
def test_a_picture_is_replayed_on_the_backend_it_was_drawn_on(minigen, monkeypatch):
    draw = ("sample", "arpg-mnist", "-c", "7", "--steps", "2")
    minigen(*draw, "--backend", "numba", "--out", "kernels.png")
    with_kernels(monkeypatch)
    minigen(*draw, "--backend", "numpy", "--out", "plain.png")
    for name, backend in (("kernels.png", "numba"), ("plain.png", "numpy")):
        said, aside = minigen("replay", name, "--json")
        assert json.loads(said)["recipe"]["versions"]["backend"] == backend
        assert json.loads(said)["changed"] == {} and aside == ""
    # where that is not here the work decides again
    pixels, recipe = files.read_png("plain.png")
    recipe["versions"]["backend"] = "cuda"
    files.write_png("gpu.png", pixels, recipe)
    _, aside = minigen("replay", "gpu.png")
    assert aside == "backend: numba, as for any number of images\n"


def test_a_run_in_numpy_imports_neither_numba_nor_what_needs_it(tmp_path):
    """The first command of the README, in a process of its own."""
    code = (
        "import sys\n"
        "from minigen.cli import main\n"
        "sys.argv = ['minigen', 'sample', 'arpg-mnist', '--class', '7', '--count',"
        " '16', '--out', 'sevens.png']\n"
        "try:\n    main()\nfinally:\n    print('\\n'.join(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.stderr.startswith("backend: numpy"), run.stderr
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "numpy" in loaded and (tmp_path / "sevens.png").is_file()
    heavy = {
        "numba",
        "llvmlite",
        "torch",
        "safetensors",
        "urllib.request",
        "hypothesis",
    }
    assert not loaded & heavy
    ops = [n for n in run.stdout.split() if n.startswith("minigen.ops.")]
    assert ops and not [n for n in ops if n.endswith((".cpu", ".cuda"))]


def test_rates_follow_from_an_image_alone_and_a_batch():
    # 3 seconds for 10**9 operations, and half a second for a step
    work = [(1e9, 4), (8e9, 4)]
    assert measuring.rates(Side(0, 5, 26), work) == (
        pytest.approx(3),
        pytest.approx(0.5),
    )
    # no step takes less than nothing
    assert measuring.rates(Side(0, 1, 16), work) == (pytest.approx(2), 0)


def test_the_command_that_measures_prints_a_row_for_each_model(minigen, monkeypatch):
    asked = []

    def command(model, backend, cache):
        asked.append((model, backend))
        # the first one compiles
        numba = 2.25 if asked.count((model, backend)) == 2 else 9.21
        return {"numpy": 1.9, "numba": numba}[backend]

    def calls(model, backend, runs, cache):
        assert runs in (3, 5)
        return {"numpy": dict(one=0.1, batch=0.8), "numba": dict(one=0.05, batch=0.16)}[
            backend
        ]

    monkeypatch.setattr(measuring, "time_command", command)
    monkeypatch.setattr(measuring, "time_calls", calls)
    said, _ = minigen("bench", "backends", "--runs", "3")
    table = said.split("\n")
    assert [line.split("|")[1].strip() for line in table[2:7]] == [
        f"`{name}`" for name in measuring.MODELS
    ]
    assert len(asked) == 3 * len(measuring.MODELS)
    # 0.08 seconds are won by an image, of the 1.04 and 8 that kernels cost
    assert table[2].split("|")[6:8] == [" 14 ", " 101 "]
    pasted = eval("{" + "".join(said.split("\n\n")[1].split("\n")) + "}")
    assert {*pasted} == {*TIMES} and pasted["arpg"].compile == 8
    asked.clear()
    found = json.loads(minigen("bench", "backends", "mar-mnist", "--json")[0])
    assert [one["model"] for one in found] == ["mar-mnist"]
    assert "did you mean" in "".join(minigen("bench", "backends", "mar-mist", status=2))


def test_each_side_is_a_command_and_calls_in_a_process(tmp_path):
    cache = str(tmp_path)
    command = measuring.time_command("gpt-mnist", "numpy", cache)
    calls = measuring.time_calls("gpt-mnist", "numpy", 1, cache)
    side = Side(command, **calls)
    assert 0 < side.one < side.batch and side.start < command
    found = measuring.crossing("gpt-mnist", side, side, command)
    assert (found.kept, found.compiled) == (0, 0)
    assert markdown(measuring.rows([found])).count("\n") == 2
