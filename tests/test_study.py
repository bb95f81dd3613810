"""Studies: every setting measured once, kept at once, and gone on with."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from minigen import load, study
from minigen.cli import app
from minigen.errors import InputError
from minigen.evaluate import FILES
from minigen.models import arpg
from minigen.orders import ORDERS, PER_IMAGE
from minigen.sameness.near_ties import rounding
from tests.test_evaluate import idx

HOW = {"seed": 0, "guidance": 6.0, "guidance_schedule": "linear", "temperature": 0.8}


@pytest.fixture(scope="module")
def pipe():
    return load("arpg-mnist", backend="numpy")


def found(**changed):
    return {
        "agreement": 0.5, "distance": 40.0, "images": 8, "seconds": 2.0,
        "backend": "numpy", **changed,
    }  # fmt: skip


@given(st.integers(1, 5000), st.data())
def test_wilson_s_interval_solves_its_equation(n, data):
    """Both ends p are z standard errors of p itself away from the share."""
    seen = data.draw(st.integers(0, n))
    low, high = study.wilson(seen / n, n)
    assert 0 <= low <= seen / n <= high <= 1
    for p in (low, high):
        if 0 < p < 1 and p != seen / n:
            apart = abs(seen / n - p) / np.sqrt(p * (1 - p) / n)
            assert apart == pytest.approx(1.96, rel=1e-6)


def test_settings_are_those_a_model_can_draw(pipe):
    made = study.cells(pipe)
    # three schedules, three numbers of steps, two readings; one for a token a step
    assert len(made) == len((*ORDERS, *PER_IMAGE)) * (3 * 3 * 2 + 1)
    assert len({tuple(each.values()) for each in made}) == len(made)
    arinar = study.cells(load("arinar-mnist", backend="numpy"))
    assert {each["reading"] for each in arinar} == {"block"}
    assert {each["order"] for each in arinar} == {*ORDERS, "random-each"}
    with pytest.raises(InputError, match="density and no probability"):
        study.cells(load("arinar-mnist", backend="numpy"), ["confidence"])


def test_a_study_that_was_stopped_goes_on(pipe, tmp_path, monkeypatch):
    drawn, path = [], tmp_path / "results.jsonl"

    def evaluate(pipe, classifier, count, first, batch, watch, **how):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(how)
        return found(images=count, agreement=len(drawn) / 8)

    monkeypatch.setattr(study, "evaluate_generator", evaluate)
    settings = study.cells(pipe, ["halton"], ["linear"], [4, 8])
    assert len(settings) == 4
    with pytest.raises(KeyboardInterrupt):
        study.measure(pipe, None, settings, 8, path, **HOW)
    assert len(study.read(path)) == 2
    drawn[:] = drawn[:1]
    with pytest.raises(KeyboardInterrupt):
        study.measure(pipe, None, settings, 8, path, **HOW)
    drawn[:] = []
    rows = study.measure(pipe, None, settings, 8, path, **HOW)
    assert [len(drawn), len(rows)] == [1, 4]
    assert [{k: row[k] for k in study.KEYS} for row in rows] == settings
    # another seed, or another number of images, is another study
    for count, how in ((8, {**HOW, "seed": 1}), (9, HOW)):
        drawn[:] = []
        study.measure(pipe, None, settings[:1], count, path, **how)
        assert len(drawn) == 1
    assert len(study.read(path)) == 6


@pytest.mark.parametrize(
    "line", ["{", "7", "[]", "{}", '{"order": 5}', "NaN", "null", "[" * 100_000]
)
def test_what_is_no_result_is_refused_by_its_line(line, tmp_path):
    path, row = tmp_path / "a.jsonl", found(order="a", schedule="b", steps=4)
    row["reading"] = "block"
    path.write_text(json.dumps(row) + "\n" + line + "\n")
    with pytest.raises(InputError, match="line 2 of .* --results"):
        study.read(path)
    for name, value in (("agreement", 1.5), ("images", 0), ("steps", "x")):
        path.write_text(json.dumps({**row, name: value}))
        with pytest.raises(InputError, match="line 1 of"):
            study.read(path)


def test_every_result_stands_in_the_table_once(pipe):
    rows = [
        {**found(agreement=i / 999, images=999), **setting}
        for i, setting in enumerate(study.cells(pipe))
    ]
    lines = study.table(rows)
    cells = [cell for line in lines[1:] for cell in line[3:] if cell]
    assert sorted(cells) == sorted(map(study.shown, rows))
    best = study.best(rows)
    assert [row["steps"] for row in best] == [4, 8, 16, 64]
    digest = study.digest(rows)
    assert [line[0] for line in digest[1:]] == [*ORDERS, *PER_IMAGE]
    for row in best:
        (line,) = (line for line in digest if line[0] == row["order"])
        assert f"{100 * row['agreement']:.1f} %, 40 " in " ".join(line)
        same = [r["agreement"] for r in rows if r["steps"] == row["steps"]]
        assert row["agreement"] == max(same)
    said = "\n".join(study.sentences(rows, {"largest": 1, "moved": 0, "mixed": 1}, {}))
    assert all(theirs in said for _, theirs in study.PAPER)
    # without one of the results, nothing is compared
    fewer = [row for row in rows if row["order"] != "raster"]
    said = "\n".join(study.sentences(fewer, {"largest": 1, "moved": 0, "mixed": 1}, {}))
    assert "FID" not in said


def test_arpg_knows_only_differences_of_positions(pipe):
    """Moving everything changes rounding; what learned its positions changes a lot."""
    moved = study.shift(pipe)
    assert moved["moved"] <= rounding(pipe.config.layers) * moved["largest"]
    # known positions mixed: the same test is one that can fail
    assert moved["mixed"] > 1e4 * moved["moved"]
    arinar = study.shift(load("arinar-mnist", backend="numpy"))
    assert arinar["moved"] > 0.1 * arinar["largest"]
    with pytest.raises(InputError, match="raster order"):
        study.shift(load("gpt-mnist", backend="numpy"))


def test_surprise_is_the_mean_of_the_training_form(pipe):
    images = pipe.sample([3, 7], steps=4)
    tokens = pipe.encode(images).reshape(2, 64)
    plan = pipe.plan("random-each", "one")
    orders = np.array([plan.of(0).order, plan.of(1).order])
    table = arpg.rotary_table(pipe.ops, pipe.config)
    call = pipe.ops, pipe.generator.weights, pipe.config
    z = arpg.forward(*call, tokens, [3, 7], orders, table).astype(np.float64)
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    targets = np.take_along_axis(tokens, orders, 1)[..., None]
    bits = -np.log2(np.take_along_axis(p, targets, 2)).mean()
    labels = np.array([3, 7])
    assert study.surprise(pipe, images, labels, "random-each") == pytest.approx(bits)
    assert study.surprise(pipe, images, labels, "confidence") is None
    with pytest.raises(InputError, match="--data is for ARPG"):
        study.surprise(load("mar-mnist", backend="numpy"), images, labels, "halton")


def call(*arguments):
    return CliRunner().invoke(app, ["study", *arguments, "--backend", "numpy"])


def test_the_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.arange(3, dtype=np.uint8)
    digits = np.tile(labels[:, None, None], (1, 28, 28))
    for name, values in zip(FILES["test"], (digits, labels), strict=True):
        (tmp_path / name).write_bytes(idx(values))
    how = [
        "arpg-mnist",
        "--count",
        "2",
        "--steps",
        "1,2",
        "--schedule",
        "linear",
        "--order",
        "halton",
    ]
    printed = call("steps", *how, "--data", ".")
    assert printed.exit_code == 0, printed.output
    assert "| halton | linear | causal |" in printed.output
    assert "Bits a token of test digits, one by one: halton" in printed.output
    table = (tmp_path / "study-steps.md").read_text()
    assert table.strip() in printed.output
    assert (tmp_path / "study-steps.png").read_bytes()[:4] == b"\x89PNG"
    assert len(study.read(tmp_path / "study-steps.jsonl")) == 4
    # what stands there is printed again, to the last digit
    again = json.loads(call("steps", *how, "--json").stdout)
    assert again["results"] == study.read(tmp_path / "study-steps.jsonl")
    assert again["shift"]["mixed"] > again["shift"]["moved"]
    more = call("orders", *how[:-1], "halton,border", "--results", "study-steps.jsonl")
    assert more.exit_code == 0 and "| border |" in more.output
    assert len(study.read(tmp_path / "study-steps.jsonl")) == 8


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["arpg-mnist", "--order", "halton,zigzag"], "order 'zigzag' is not known"),
        # an empty text names no order, and is not the same as saying nothing
        (["arpg-mnist", "--order", ""], "order '' is not known"),
        (["arpg-mnist", "--schedule", "fast"], "schedule 'fast' is not known"),
        (["arpg-mnist", "--steps", "4,x"], "--steps '4,x'"),
        (["arpg-mnist", "--steps", "0"], "--steps '0'"),
        (["arpg-mnist", "--guidance", "nan"], "guidance nan"),
        (["arpg-mnist", "--seed", "-1"], "seed -1"),
        (["arpg-mnist", "--results", "a.txt"], "a.txt should end in .jsonl"),
        (["arpg-mnist", "--table", "a.txt"], "a.txt should end in .md"),
        (["arpg-mnist", "--picture", "none/a.png"], "none does not exist"),
        (["arpg-mnist", "--data", "none"], "none"),
        (["gpt-mnist"], "raster order"),
        (["vq-mnist"], "vq-mnist"),
        (["arpg-mnist", "--results", "bad.jsonl"], "line 1 of bad.jsonl"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(
    arguments, said, tmp_path, monkeypatch
):
    def refuse(*arguments, **options):
        raise AssertionError("drawn")

    monkeypatch.setattr(study, "evaluate_generator", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text("{}")
    result = call("orders", *arguments)
    assert result.exit_code == 2 and said in " ".join(result.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]
