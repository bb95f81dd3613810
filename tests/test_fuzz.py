"""A few of what `python -m tests.fuzz` draws, and recipes that strangers edited."""

import json
import multiprocessing
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from minigen import checks
from minigen.cli import app
from minigen.errors import InputError, MinigenError
from minigen.show import files, recipe
from tests import parts
from tests.fuzz import __main__ as command
from tests.fuzz import costs, day, hostile, inputs, options, recipes, replays, running
from tests.fuzz import files as files_of_strangers


def test_every_part_that_names_its_command_has_it():
    folder = Path(command.__file__).parent
    named = {
        name
        for path in folder.glob("*.py")
        for name in re.findall(r"python -m tests\.fuzz (\w+)", path.read_text())
    }
    assert "compiled" in named and named <= {*command.PARTS}


# the options of commands that only kernels have are drawn too
with_kernels = pytest.param(options, marks=pytest.mark.needs("numba"))
edited = pytest.mark.parametrize(
    "part", [recipes, with_kernels], ids=["recipes", "options"]
)


@edited
def test_a_few_edits_are_refused_or_done(part):
    counts, findings = running.run(20, 1, part.prepare, part.draw)
    assert not findings, "\n".join(findings)
    assert sum(counts.values()) == 20 and counts["refused"]


@pytest.mark.slow
@edited
def test_many_edits_are_refused_or_done(part):
    first, count = parts.share(1000)
    _, findings = running.run(count, 2, part.prepare, part.draw, first)
    assert not findings, "\n".join(findings)


def test_pictures_are_drawn_again_the_same():
    findings = replays.run(12, 1)
    assert not findings, "\n".join(findings)


@pytest.mark.slow
def test_many_pictures_are_drawn_again_the_same():
    first, count = parts.share(200)
    findings = replays.run(count, 2, first=first)
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize("part", inputs.PARTS)
def test_what_fuzzing_begins_with_is_read_or_refused(part, tmp_path):
    for content in inputs.seeds(part):
        with suppress(MinigenError):
            inputs.PARTS[part](content, tmp_path)


def test_what_hostile_files_take_is_measured(tmp_path, capsys):
    folder = tmp_path / "pickle"
    folder.mkdir()
    (folder / "little").write_bytes(b"\x80\2N.")
    (folder / "much").write_bytes(hostile.inputs()["pickle", "sets"])
    found = [("pickle", path) for path in sorted(folder.iterdir())]
    # in a process of its own: what earlier tests have let go would be used again
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        little, much = fresh.apply(costs.measured, (found,))
    assert much[0] > little[0] and much[1] > little[1] + 10_000_000
    assert costs.show([little, much]) == 0 and "2 inputs" in capsys.readouterr().out
    assert costs.show([(costs.SECONDS + 1, *much[1:])]) == 1


@pytest.mark.parametrize("part, name", hostile.inputs())
def test_hostile_files_are_read_or_refused(part, name, tmp_path):
    content = hostile.inputs()[part, name]
    assert len(content) <= costs.LARGEST
    with suppress(MinigenError):
        inputs.PARTS[part](content, tmp_path)


def test_fuzzing_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "atheris", None)
    with pytest.raises(SystemExit, match="pip install atheris"):
        files_of_strangers.main([])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A picture, and its recipe."""
    path = tmp_path_factory.mktemp("drawn") / "base.png"
    how = f"sample arpg-mnist -c 7 --steps 2 --backend numpy --out {path}"
    assert CliRunner().invoke(app, how.split()).exit_code == 0
    return path, files.read_header(path)[0]


def replay(path, text, folder, way="tEXt"):
    """Replay a picture with another text as its recipe; return how it ended."""
    info, out = PngImagePlugin.PngInfo(), folder / "edited.png"
    if way == "iTXt":
        info.add_itxt("minigen", text, zip=True)
    else:
        info.add_text("minigen", text, zip=way == "zTXt")
    with Image.open(path) as picture:
        picture.save(out, pnginfo=info)
    result = CliRunner().invoke(app, ["replay", str(out), "--backend", "numpy"])
    assert isinstance(result.exception, SystemExit | type(None)), result.exception
    assert list(folder.iterdir()) == [out]
    return result


WRONG = [
    *({"labels": x} for x in ("777", ["7"], [], [[7]], [7] * 10**5, None, 7, {}, [10])),
    *({"model": x} for x in (None, ["a"], "/etc/passwd", "a\0b", "/dev/zero", "/gone")),
    *({"model": x} for x in ("", "\ud800", "x" * 10**5)),
    *({"seed": x} for x in (1.5, "x", -1, None, 2**64, True, 10**40)),
    *({"steps": x} for x in ("16", 0, 2**17, [2], -1)),
    *({"step": x} for x in (99, 0, -5, "x", 1.0)),
    *({"scale": x} for x in (0, 2, 10_000, "2", 1.5, None, 2**40)),
    *({"columns": x} for x in (0, -1, "a", 2**40)),
    *({"guidance": x} for x in ("4", float("nan"), float("inf"), 1e39, [4.0], True)),
    *({"temperature": x} for x in (-1, "1", float("-inf"))),
    *({"top_k": x} for x in ("x", -1, 2.0, None)),
    *({"top_p": x} for x in (None, 1.5, -0.1, "1")),
    *({"order": x} for x in ([1, 2, 3], {}, 5, "halten", list(range(65)), [0] * 64)),
    *({"schedule": x} for x in (3, [63], [0, 64], "up", {}, [64.0])),
    *({"first": x} for x in (-1, "x", 2**32 - 1, 2**70)),
    *({"versions": x} for x in ([1], None, {"a": 1}, {"a": "\x1b"}, {"a": "x" * 999})),
    *({"positions": x} for x in (5, "trained", "up", None)),
    *({"guided_steps": x} for x in ("x", 0, 1.5)),
    *({"model_hash": x} for x in (5, "ab", "g" * 64)),
    {"tokenizer": 5}, {"guidance_schedule": "up"}, {"guided_draw": 1}, {"extra": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda change: repr(change)[:40])
def test_a_wrong_value_is_refused(drawn, tmp_path, change):
    path, values = drawn
    result = replay(path, json.dumps({**values, **change}), tmp_path)
    assert result.exit_code == 2 and "Traceback" not in result.output


TEXTS = {
    "a list": "[1]", "a number": "5", "nothing": "", "deep": "[" * 100_000,
    "NaN": "NaN", "cut": '{"model": "arp', "twice": '{"model": "a", "model": "b"}',
    "many digits": '{"seed": ' + "9" * 100_000 + "}", "long": " " * 2 * files.LONGEST,
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("way", ["tEXt", "zTXt", "iTXt"])
def test_a_text_that_is_no_recipe_is_refused(drawn, tmp_path, text, way):
    assert replay(drawn[0], text, tmp_path, way).exit_code == 2


@pytest.mark.parametrize("name", ["model", "labels"])
def test_a_recipe_without_its_names_is_refused(drawn, tmp_path, name):
    path, values = drawn
    left = {key: value for key, value in values.items() if key != name}
    assert replay(path, json.dumps(left), tmp_path).exit_code == 2


def test_a_pipe_in_a_recipe_does_not_hang(drawn, tmp_path):
    import os

    path, values = drawn
    pipe = tmp_path.parent / "a-pipe"
    os.mkfifo(pipe)
    for name in ("model", "tokenizer"):
        result = replay(path, json.dumps({**values, name: str(pipe)}), tmp_path)
        assert result.exit_code == 2
    pipe.unlink()


def test_nothing_is_planned_before_the_size_is_compared(drawn, tmp_path, monkeypatch):
    # to plan 65,536 tokens by locality in as many steps takes minutes
    path, values = drawn
    monkeypatch.setattr("minigen.plans.plan", lambda *_, **__: pytest.fail("planned"))
    result = replay(path, json.dumps({**values, "labels": [7, 7]}), tmp_path)
    assert result.exit_code == 2 and "its recipe one of 32 x 66" in result.output
    assert isinstance(result.exception, SystemExit)


def test_what_is_left_out_is_the_usual(drawn, tmp_path):
    path, values = drawn
    usual = ("first", "top_k", "top_p", "positions", "guided_draw", "scale", "versions")
    left = {key: value for key, value in values.items() if key not in usual}
    assert replay(path, json.dumps(left), tmp_path).exit_code == 0


def test_a_recipe_of_version_0_1_may_name_steps_that_nobody_takes():
    values = {"model": "gpt-mnist", "labels": [1], "steps": 16, "schedule": "one"}
    assert recipe.from_json(values).steps is None
    assert recipe.from_json({**values, "schedule": "arccos"}).steps == 16


def test_a_sheet_has_the_size_that_is_foretold():
    from minigen.show.grid import grid, sheet_size

    for count, columns in ((1, None), (5, 2), (6, 3), (7, 9), (7, None)):
        sheet = grid(np.zeros((count, 4, 5, 3), np.uint8), columns)
        assert sheet.shape[:2] == sheet_size(count, 4, 5, columns)


def test_a_picture_has_a_size_that_memory_has_room_for():
    checks.picture(checks.MOST_PIXELS, "")
    with pytest.raises(InputError, match="draw less"):
        checks.picture(checks.MOST_PIXELS + 1, "draw less")


@pytest.mark.parametrize(
    "name, by, wanted",
    [("memory", 3e6, ""), ("memory", 9e6, "memory grew by 36.0 MB"),
     ("threads", 1, "threads grew by 8"), ("open", 0, "")],
)  # fmt: skip
def test_what_grows_all_day_is_found(name, by, wanted):
    """Of ten rounds, in which something grows by as much in each."""
    still = {"memory": 400e6, "threads": 3, "open": 6, "files": 2}
    rounds = [day.Held(**still | {name: still[name] + by * n}) for n in range(10)]
    assert day.grown(rounds) == wanted


@pytest.mark.slow
def test_a_round_of_a_day_is_lived():
    (held,) = day.live(count=100, rounds=1, backend="numba")
    assert held.memory > 1e8 and held.threads >= 1 and held.files == 2
