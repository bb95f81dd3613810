"""Results that are written: what they were measured on, and the tables made of them."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minigen.bench import compare, headline, machine, results
from minigen.bench.ceilings import Ceilings
from minigen.bench.compare import Comparison, Side
from minigen.bench.worker import Job
from minigen.cli import app
from minigen.errors import InputError

ROOT = Path(__file__).parent
README = ROOT.parent / "README.md"
FOLDER = ROOT / "bench_results"


def made_up(generator, dtype="float32", seconds=3.0, **sides):
    job = compare.settle(Job(generator, compare.decoder_of(generator), dtype=dtype))
    drawn = {"tokens": seconds, "pixels": 1.0, "image": seconds + 1}
    made = {"minigen": Side([drawn], {}, 10**9)}
    for name, times in sides.items():
        theirs = {part: times * of for part, of in drawn.items()}
        made[name] = Side([theirs], {}, 2 * 10**9)
    top = Ceilings(1e11, 1e12, 2, "a loop", "a product", 1 << 20)
    return compare.to_json(Comparison(job, made, top, compare.work(job)))


def test_results_say_what_they_were_measured_on(tmp_path):
    found = made_up("arpg-l", eager=3.5)
    path = results.save("cpu", ("arpg-l", "float32"), found, tmp_path / "new")
    assert re.fullmatch(r"cpu-arpg-l-float32-[a-z0-9-]+\.json", path.name)
    (one,) = results.load(path.parent)
    assert one["bench"] == "cpu" and one["found"] == json.loads(json.dumps(found))
    about = one["about"]
    assert about["vectors"] in (*machine.VECTORS, "other")
    assert about["versions"]["numpy"] and about["machine"] and about["commit"]
    assert about["cores"] >= about["threads"] >= 1 and about["cache_bytes"] > 0
    # the same again takes its place
    assert results.save("cpu", ("arpg-l", "float32"), found, path.parent) == path
    assert len(results.load(path.parent)) == 1


@pytest.mark.parametrize("text", ["{}", "no", '{"bench": 1, "about": 2, "found": 3}'])
def test_a_file_of_something_else_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="a.json holds something else than results"):
        results.load(tmp_path)


def test_a_cache_is_that_of_the_cores_a_process_may_use(tmp_path, monkeypatch):
    monkeypatch.setattr(
        machine.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False
    )
    for core, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        for level, size in ((1, "32K"), (3, "1024K"), (2, "512K")):
            folder = tmp_path / f"cpu{core}" / "cache" / f"index{level}"
            folder.mkdir(parents=True)
            for name, text in (
                ("level", level), ("size", size), ("shared_cpu_list", shared)
            ):  # fmt: skip
                (folder / name).write_text(f"{text}\n")
    assert machine.cache_bytes(str(tmp_path)) == 2 << 20
    assert machine.cache_bytes(str(tmp_path / "none")) == machine.UNKNOWN_CACHE


def test_a_machine_is_named_by_its_widest_vectors():
    assert machine.vectors(["AVX2", "FMA", "AVX-512"]) == "AVX-512"
    assert machine.vectors(["AVX2"]) == "AVX2" and machine.vectors([]) == "other"


def record(found, vectors, bench="cpu", **about):
    given = {"machine": "a machine", "threads": 2, "commit": "abc", "vectors": vectors}
    return {"bench": bench, "about": given | about, "found": found}


def test_every_kind_of_machine_has_a_table():
    reported = {
        "job": {"generator": "arpg-l", "tokenizer": "vq-16", "batch": 1,
                "dtype": "float32", "steps": 64},
        "sides": {"minigen": {"medians": {"tokens": 9.2}},
                  "eager": {"medians": {"tokens": 22.6}}},
    }  # fmt: skip
    found = [
        record(made_up("arpg-l", eager=3.5), "AVX-512"),
        record(made_up("arpg-l", seconds=4.0, onednn=2.0), "AVX-512"),
        record(made_up("aim-b", seconds=1.28, eager=6.0), "AVX-512", commit="abd"),
        record(reported, "AVX2", source="an issue"),
    ]
    said = results.tables(found).splitlines()
    assert said[0] == "| AVX2 | minigen | PyTorch |"
    assert said[2] == "| `arpg-l`, tokens, 64 steps | 9.20 s | 2.46 |"
    assert said[4] == "| AVX-512 | minigen | PyTorch | oneDNN | of the limit | memory |"
    assert said[6].startswith("| `arpg-l`, tokens, 64 steps | 3.00 s | 3.50 | 2.00 | ")
    assert said[7].startswith("| `aim-b`, a token | 20.0 ms | 6.00 |  |")
    assert said[8].startswith("| `vq-16`, pixels |")
    assert said[-2:] == [
        "AVX2: a machine, 2 threads, an issue, commit abc.",
        "AVX-512: a machine, 2 threads, commits abc, abd.",
    ]


def test_what_takes_vectors_in_halves_is_another_kind():
    names = "AMD EPYC (znver1)", "AMD EPYC (znver3)"
    found = [record(made_up("aim-b"), "AVX2", machine=name) for name in names]
    said = results.tables(found)
    assert "| AVX2, AMD |" in said and "| AVX2, AMD before Zen 2 |" in said


def test_products_are_told_by_dtype():
    cell = {"dtype": "float32", "rows": 2, "f": 8, "d": 4, "peer": "onednn"}
    cells = [
        cell | {"ratio": ratio, "rows": n}
        for n, ratio in ((2, 0.9), (4, 1.5), (6, 1.25), (8, None))
    ]
    found = {"cells": cells, "own_bfloat16": []}
    # again in another file, and in bfloat16
    half = {"cells": [cells[0], cells[1] | {"dtype": "bfloat16"}]}
    half["own_bfloat16"] = ["AMX bfloat16"]
    runs = [record(one, "AVX2", "products") for one in (found, half)]
    said = results.tables(runs)
    assert "| float32 | AVX2 | 3 | 1.25 | 0.90 (2 rows of 8 x 4, onednn) |" in said
    bfloat16 = "| bfloat16, beside AMX bfloat16 | AVX2 | 1 | 1.50 | 1.50 (4 rows"
    assert bfloat16 in said


def test_what_is_above_its_limit_is_found():
    slow = made_up("arpg-l")
    assert results.above_limit([record(slow, "AVX2")]) == []
    fast = made_up("arpg-l", seconds=1e-3)
    (wrong,) = results.above_limit([record(fast, "AVX2")])
    assert "arpg-l" in wrong and "tokens" in wrong


def test_no_result_that_is_kept_is_above_its_limit():
    assert results.above_limit(results.load(FOLDER)) == []


def test_the_readme_holds_what_the_command_prints():
    said = CliRunner().invoke(app, ["bench", "tables", str(FOLDER)])
    assert said.exit_code == 0 and said.stdout.strip() in README.read_text("utf-8")


def test_a_headline_of_another_machine_says_which():
    entries = results.headlines(results.load(FOLDER))
    lines = headline.report(entries).splitlines()
    for entry in entries:
        found = [line for line in lines if line.endswith(f"| {entry['machine']} |")]
        some = f" {entry['batch']} | "
        assert any(line.startswith(f"| {entry['part']}, ") and some in line
                   for line in found)  # fmt: skip
    for entry in entries:
        del entry["machine"]
    assert "machine" not in headline.report(entries).splitlines()[0]
