"""bench headline: sides run in processes of their own, and stand beside the papers."""

import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from minigen import backends, plans, sample
from minigen.bench import headline
from minigen.bench.growth import kept
from minigen.bench.headline import PARTS, Part, Side, jobs_of, kept_bytes
from minigen.cli import app
from minigen.families import PRESETS
from minigen.families.work import Work
from minigen.images import read_image
from tests.models.stand_in import stand_in

TINY = {
    "parallel": Part(
        "arpg-mnist", "gpt-mnist", (4, 2), ("over 20", ""), "a paper", "Small."
    ),
    "masked": Part("arinar-mnist", "mar-mnist", (4,), ("5.68",), "another", "Small."),
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, part in TINY.items():
        monkeypatch.setitem(PARTS, name, part)


def run(*arguments):
    given = ["bench", "headline", *map(str, arguments)]
    return CliRunner().invoke(app, given, catch_exceptions=False)


def test_sides_are_drawn_whole_and_compared():
    found = run("parallel", "--batch", 2, "--runs", 2, "--backend", "numpy", "--json")
    assert found.exit_code == 0, found.output
    (part,) = json.loads(found.stdout)
    assert (part["part"], part["batch"]) == ("parallel", 2)
    sides = part["sides"]
    jobs = [side["job"] for side in sides]
    assert [job["generator"] for job in jobs] == ["arpg-mnist"] * 2 + ["gpt-mnist"]
    assert [job["steps"] for job in jobs] == [4, 2, None] and jobs[2]["tokens"] == 64
    assert [side["reported"] for side in sides] == ["over 20", "", "1"]
    assert all(len(side["seconds"]) == 2 and not side["estimated"] for side in sides)
    assert all(side["peak_bytes"] > 10**7 for side in sides)
    ratios = [sides[2]["median"] / side["median"] for side in sides]
    assert [side["times_as_fast"] for side in sides] == pytest.approx(ratios)


def test_some_tokens_and_some_steps_stand_for_all(tmp_path):
    options = ["--tokens", 16, "--every", 2, "--batch", 1, "--runs", 1]
    folder, picture = tmp_path / "results", tmp_path / "bars.png"
    options += ["--save", "--folder", folder, "--picture", picture]
    found = run("parallel", "masked", *options, "--backend", "numpy")
    assert found.exit_code == 0, found.output
    rows = [line.split("|") for line in found.stdout.split("\n") if line[:1] == "|"]
    estimated = [row[1].strip() for row in rows if "estimated" in row[1]]
    assert estimated == [
        "gpt-mnist, 64 steps (estimated)",
        "arinar-mnist, 4 steps (estimated)",
        "mar-mnist, 4 steps (estimated)",
    ]
    assert "Reported: a paper." in found.stdout and "5.68" in found.stdout
    # two bars of the first part, one of the second; the same tables, of the results
    assert read_image(picture).shape == (50 + 26 * 3, 920, 3)
    printed = found.stdout.partition("results: ")[0].strip()
    again = tmp_path / "again.png"
    call = ["bench", "tables", str(folder), "--picture", str(again)]
    said = CliRunner().invoke(app, call, catch_exceptions=False)
    # a column more says on what machine
    cut = [line.rsplit(" | ", 1)[0] + " |" if line.endswith(" |") else line
           for line in said.stdout.splitlines()]  # fmt: skip
    assert said.exit_code == 0 and "\n".join(cut).startswith(printed)
    assert again.read_bytes() == picture.read_bytes()


def test_without_headlines_there_is_nothing_to_draw(tmp_path):
    call = ["bench", "tables", str(tmp_path), "--picture", str(tmp_path / "bars.png")]
    said = CliRunner().invoke(app, call)
    assert said.exit_code == 2 and "there are no headlines to draw" in said.output
    assert not (tmp_path / "bars.png").exists()


def test_a_job_of_several_parts_runs_once_and_the_rest_is_guessed(monkeypatch):
    ran, said = [], []

    def fake(job, runs, tell):
        ran.append(job)
        tell(0.5)
        return Side(job, [1.0] * runs, 1, 1, Work(1, 1), False)

    monkeypatch.setattr(headline, "draw_side", fake)
    parts = TINY["parallel"], replace(TINY["parallel"], steps=(2,), reported=("",))
    found = headline.measure(parts, [1, 2], runs=3, say=said.append, backend="numpy")
    assert len(ran) == len(found) == 6 == len(said)
    assert said[0].startswith("arpg-mnist, 4 steps, batch 1; in all about ")
    jobs = jobs_of(TINY["parallel"], 2, backend="numpy")
    assert [found[job].median for job in jobs] == [1.0] * 3


@pytest.mark.parametrize("name", ["arpg-mnist", "gpt-mnist", "aim-mnist", "mar-mnist"])
def test_what_is_kept_is_what_a_run_keeps(name):
    config, ops = PRESETS[name], backends.table("numpy")
    plan = plans.plan((8, 8), "raster", "one")
    seen = []

    def watch(key, state):
        if key == "state":
            seen.append(state)

    options = sample.Options(guidance=2.0)
    call = ops, stand_in(config), config, plan, [1, 2, 3], 0, options
    next(sample.steps(*call, watch=watch))
    (state,) = seen
    # of AiM's memory only the states are: the rest is made of the class, once
    state = getattr(state, "states", state)
    # a GPT's cache holds the output for the last token beside keys and values
    last = getattr(state, "last", None)
    assert kept_bytes(config, 3) == kept(state) - (0 if last is None else last.nbytes)


def test_what_the_papers_report_stands_there_with_its_source():
    for name in ("arpg-l", "aim-b", "aim-l", "arinar-b"):
        part = PARTS[name]
        assert len(part.steps) == len(part.reported)
        assert {part.model, part.baseline} <= {*PRESETS}
        assert part.source and part.differs
    assert PARTS["arpg-l"].reported[:2] == ("over 20", "over 30")
    assert PARTS["arinar-b"].reported == ("5.68",)


@pytest.mark.parametrize(
    "given, said",
    [
        (["arpg-x"], r"did you mean arpg-l\?"),
        (["parallel", "--tokens", "0"], r"--tokens.*(greater than or equal to 1|x>=1)"),
        (["masked", "--every", "5"], "every 5th step was asked for; there are 4"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, said):
    found = run(*given, "--batch", 1)
    assert found.exit_code == 2 and re.search(said, found.output, re.S)
