"""Many images in a folder: whatever stops a run, it ends with the same files."""

import errno
import io
import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import minigen
from minigen import cluster, many, memory, pipeline, writing
from minigen.cli import app
from minigen.commands import terminal
from minigen.errors import InputError
from minigen.evaluate import write_npz
from minigen.families import PRESETS
from minigen.images import outline, read_image
from minigen.show import recipe as recipes
from tests.fuzz import kills
from tests.made_folder import make

LABELS = [7, 7, 7, 3, 3, -1, 1]
HOW = {"steps": 2, "seed": 5, "first": 3}


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


@pytest.fixture(scope="module")
def whole(pipe, tmp_path_factory):
    """A folder that was filled without a stop."""
    return pipe.draw_many(LABELS, tmp_path_factory.mktemp("many") / "whole", **HOW)


def command(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stop_after(count):
    def progress(done, total):
        if done >= count:
            raise KeyboardInterrupt

    return progress


def test_files_are_numbered_and_hold_what_sample_draws(pipe, whole):
    names = [f"{n:06}.png" for n in range(3, 10)]
    assert sorted(contents(whole)) == [*names, "manifest.json"]
    drawn = pipe.sample(LABELS, **HOW)
    for name, image in zip(names, drawn, strict=True):
        assert np.array_equal(read_image(whole / name), image)
    result = command("replay", whole / names[5], "--json")
    assert json.loads(result.stdout)["verdict"] == "identical"


@pytest.mark.parametrize("at, batches", [(0, (3, 7)), (3, (3, 2)), (4, (1, 64))])
def test_a_stopped_run_ends_with_the_same_files(pipe, whole, tmp_path, at, batches):
    with pytest.raises(KeyboardInterrupt):
        call = LABELS, tmp_path / "a"
        pipe.draw_many(*call, batch=batches[0], progress=stop_after(at), **HOW)
    assert len(contents(tmp_path / "a")) < len(LABELS) + 1
    seen = []
    pipe.draw_many(
        LABELS, tmp_path / "a", batch=batches[1], **HOW,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[-1] == (7, 7) and sorted(seen) == seen and seen[0][0] >= at
    assert contents(tmp_path / "a") == contents(whole)


def test_what_is_missing_or_damaged_is_drawn_again(pipe, whole, tmp_path):
    folder = pipe.draw_many(LABELS, tmp_path / "a", **HOW)
    (folder / "000004.png").unlink()
    (folder / "000006.png").write_bytes(contents(whole)["000006.png"][:-20])
    (folder / "000007.png").write_bytes(b"")
    left = writing._name_part(folder)
    left.write_bytes(b"half")
    seen = []
    pipe.draw_many(LABELS, folder, progress=lambda *n: seen.append(n), **HOW)
    assert seen[0] == (4, 7) and contents(folder) == contents(whole)


def test_a_full_disk_leaves_whole_files_and_goes_on(pipe, whole, tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def full(*paths):
        calls.append(paths)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(*paths)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        pipe.draw_many(LABELS, tmp_path / "a", **HOW)
    there = contents(tmp_path / "a")
    assert len(there) == 3 and there.items() < contents(whole).items()
    monkeypatch.undo()
    pipe.draw_many(LABELS, tmp_path / "a", **HOW)
    assert contents(tmp_path / "a") == contents(whole)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"seed": 6}, "its seed is 5, and 6 here"),
        ({"steps": 3}, "its steps is 2, and 3 here"),
        ({"first": 4}, "its first is 3, and 4 here"),
        ({"guidance": 2}, "its guidance is"),
        ({"format": "jpg"}, "its format is 'png', and 'jpg' here"),
        ({"labels": LABELS[:5]}, "its number of images is 7, and 5 here"),
        ({"labels": LABELS[::-1]}, "its classes is"),
    ],
)
def test_another_run_is_refused_with_words(pipe, whole, change, said):
    before = contents(whole)
    call = {"labels": LABELS, **HOW, **change}
    with pytest.raises(InputError, match=f"holds another run: {said}"):
        pipe.draw_many(call.pop("labels"), whole, **call)
    assert contents(whole) == before


def test_another_model_version_or_backend_is_another_run(
    pipe, whole, tmp_path, monkeypatch
):
    folder = pipe.draw_many(LABELS, tmp_path / "a", **HOW)
    for model in ("gpt-mnist", "aim-mnist"):
        said = f"its model is 'arpg-mnist', and '{model}' here"
        other = minigen.load(model, backend="numpy")
        with pytest.raises(InputError, match=said):
            other.draw_many(LABELS, folder, seed=5, first=3)
    found = many.read(folder)
    versions = {**found.recipe.versions, "numpy": "1.0"}
    table = many.to_json(found)
    table["recipe"]["versions"] = versions
    (folder / many.MANIFEST).write_text(json.dumps(table))
    with pytest.raises(InputError, match="its version of numpy is '1.0'"):
        pipe.draw_many(LABELS, folder, **HOW)


def test_a_folder_of_somebody_s_pictures_is_left_alone(pipe, tmp_path):
    (tmp_path / "000004.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="000004.png and no manifest.json"):
        pipe.draw_many(LABELS, tmp_path, **HOW)
    assert contents(tmp_path) == {"000004.png": b"mine"}
    (tmp_path / "000004.png").rename(tmp_path / "holiday.png")
    pipe.draw_many([7], tmp_path, steps=1)
    assert contents(tmp_path)["holiday.png"] == b"mine"


def test_two_runs_into_one_folder_are_refused(pipe, tmp_path):
    with (
        writing.locked(tmp_path),
        pytest.raises(InputError, match="another process is writing"),
    ):
        pipe.draw_many([7], tmp_path, steps=1)
    assert contents(tmp_path) == {}


def test_a_lock_does_not_survive_who_held_it(tmp_path):
    code = (
        "import os, sys, time; from minigen.writing import locked\n"
        "with locked(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match="another process"), writing.locked(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    assert os.listdir(tmp_path) == [writing.LOCK]
    with writing.locked(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("format", ["webp", "npz", "jpg"])
def test_formats_hold_the_same_image(pipe, whole, tmp_path, format):
    folder = pipe.draw_many(LABELS, tmp_path / "a", format=format, **HOW)
    manifest = many.read(folder)
    found = [*many.images(folder, manifest)]
    expected = [*many.images(whole, many.read(whole))]
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 24 * (
        format == "jpg"
    )
    if format == "npz":
        with np.load(folder / "000008.npz") as arrays:
            assert arrays["label"] == -1 and arrays["tokens"].shape == (8, 8)
            assert np.array_equal(pipe.decode(arrays["tokens"][None])[0], found[5])
    before = contents(folder)
    (folder / f"000005.{format}").write_bytes(before[f"000005.{format}"][:-9])
    pipe.draw_many(LABELS, folder, format=format, **HOW)
    assert contents(folder) == before


def test_known_tokens_and_outlines_are_those_of_every_image(pipe, tmp_path):
    tokens = pipe.draw([7], steps=2).tokens
    tokens[:, 4:] = -1
    folder = pipe.draw_many([7, 3, 1], tmp_path / "a", known=tokens, batch=2, steps=2)
    expected = pipe.sample([7, 3, 1], known=tokens[0], steps=2)
    assert np.array_equal([*many.images(folder, many.read(folder))], expected)
    pipe = minigen.load("arpg-mnist-control", backend="numpy")
    control = pipe.encode(outline(expected[:1]))
    folder = pipe.draw_many([7, 3], tmp_path / "b", control=control, steps=2)
    expected = pipe.sample([7, 3], control=control, steps=2)
    assert np.array_equal([*many.images(folder, many.read(folder))], expected)


WRONG = [
    *({"manifest": x} for x in (0, 2, "1", None)),
    *({"images": x} for x in (6, 8, "7", None, 10**40)),
    *({"format": x} for x in ("gif", "", None, 3, "../a")),
    *({"labels": x} for x in ([], [[7]], [[7, 0]], [[7, -1]], 7, [["7", 1]], None)),
    *({"labels": x} for x in ([[7, 10**12]], [[7, 2**24 + 1]], [[-2, 7]], {"7": 1})),
    *({"recipe": x} for x in ({}, [], None, {"model": 3, "labels": [7]})),
]


@pytest.mark.parametrize("change", WRONG, ids=lambda change: repr(change)[:40])
def test_a_wrong_manifest_is_refused(whole, tmp_path, change):
    table = json.loads((whole / many.MANIFEST).read_text())
    (tmp_path / many.MANIFEST).write_text(json.dumps({**table, **change}))
    with pytest.raises(InputError, match=r"manifest.json cannot be read as"):
        many.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 10**5, "\0", '{"a":1,"a":2}'])
def test_a_text_that_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / many.MANIFEST).write_text(text)
    with pytest.raises(InputError, match="cannot be read as"):
        many.read(tmp_path)


def test_a_memory_decides_how_many_are_drawn_together(pipe, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "fill", lambda folder, manifest, size, batch, *_: batch)
    draw = pipe.draw_many
    least = memory.needed(pipe.config, pipe.tokenizer_config, (8, 8), 15).total
    assert draw([7], tmp_path, memory=least) < draw([7], tmp_path, memory="2GB") == 64
    assert draw([7], tmp_path, memory="1MB", batch=3) == 3
    with pytest.raises(InputError, match="a memory of 1.00 MB is less than the "):
        draw([7], tmp_path, memory="1MB")
    for wrong in ("", "GB", "4 apples", "-1GB", "1e9", "0", 0, 2.5, True):
        with pytest.raises(InputError, match="memory"):
            draw([7], tmp_path, memory=wrong)
    xxl = PRESETS["arpg-xxl"], PRESETS["vq-16"], (16, 16), 25
    assert memory.fitting(None, *xxl) == 1
    with pytest.raises(InputError, match="smaller model"):
        memory.fitting(10**9, *xxl)


def test_a_worker_draws_the_same_and_refuses_other_weights(pipe, whole):
    manifest = many.read(whole)
    part = recipes.to_json(manifest.part(range(4, 7)))
    names = "arpg-mnist", "vq-mnist"
    files = pipeline.draw_part(*names, part, "png")
    assert files == [contents(whole)[f"{n:06}.png"] for n in range(4, 7)]
    pipeline._load_checked.cache_clear()
    for change in ({"model_hash": "0" * 64}, {"tokenizer_hash": "0" * 64}):
        with pytest.raises(InputError, match="the run is one of 000000000000"):
            pipeline.draw_part(*names, {**part, **change}, "png")
    other = {**part, "versions": {**part["versions"], "numba": "0.1"}}
    with pytest.raises(InputError, match="numba is .* and the run is one of 0.1"):
        pipeline.draw_part(*names, other, "png")


@pytest.mark.parametrize("address", ["", "local", "local:0", "here", "tcp://", "a:b"])
def test_a_cluster_has_an_address(pipe, tmp_path, address):
    with pytest.raises(InputError, match="is no address"):
        pipe.draw_many([7], tmp_path / "a", cluster=address)
    assert not (tmp_path / "a").exists()


def test_a_call_that_ends_its_workers_is_not_made_for_ever():
    assert 1 < cluster.LOSSES < 100


def test_the_command_fills_a_folder_and_goes_on(tmp_path):
    line = "sample", "arpg-mnist", "-c", "7,3", "--count", 2, "--steps", 2, "--out"
    result = command(*line, f"{tmp_path}/new/")
    assert result.exit_code == 0, result.output
    assert "new  4 images of 32 x 32, 2 steps" in result.stdout
    before = contents(tmp_path / "new")
    (tmp_path / "new" / "000002.png").unlink()
    # now it is a folder because it is there
    result = command(*line, tmp_path / "new", "--json")
    assert json.loads(result.stdout)["drawn"] == 1
    assert contents(tmp_path / "new") == before
    result = command(*line, tmp_path / "new", "--seed", 1)
    assert result.exit_code == 2 and "holds another run" in result.stderr
    for more in (["--columns", 2], ["--gif", "a.gif"], ["--steps-dir", "a"]):
        result = command(*line, tmp_path / "new", *more)
        assert result.exit_code == 2 and "a folder holds a file" in result.stderr
    for more in (["--format", "jpg"], ["--memory", "4GB"], ["--cluster", "local:2"]):
        result = command(*line, tmp_path / "a.png", *more)
        assert result.exit_code == 2 and "--out DIR/" in result.stderr


def test_one_picture_goes_to_standard_output(tmp_path):
    line = "sample", "arpg-mnist", "-c", "7", "--steps", 2, "--backend", "numpy"
    result = command(*line, "--out", "-")
    assert command(*line, "--out", tmp_path / "a.png").exit_code == 0
    assert result.stdout_bytes == (tmp_path / "a.png").read_bytes()
    assert Image.open(io.BytesIO(result.stdout_bytes)).size == (32, 32)
    assert "1 image of 32 x 32" in result.stderr
    assert command(*line, "--out", "-", "--json").exit_code == 2


def test_a_log_has_lines_of_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "MINUTE", 0.05)
    with terminal.counting("drawing", "images", "numpy") as tell:
        tell(1200, 5000)
        tell(1240, 5000)
        time.sleep(0.2)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "1,200 of 5,000 images are there" and 1 <= len(lines) <= 5
    for line in lines:
        assert line.startswith("1,240 of 5,000 images, ") and line.endswith(" left")
    first, last = (1200, 5000, 0.0), (1300, 5000, 50.0)
    said = terminal._how_far(first, last, "images")
    assert said == "1,300 of 5,000 images, 2 a second, 31 min left"
    assert terminal._how_far(first, first, "images") == "1,200 of 5,000 images"


def test_a_folder_is_measured_and_written_as_one_array(whole, tmp_path):
    npz = tmp_path / "a.npz"
    result = command("evaluate", whole, "--npz", npz, "--json")
    # one of its images was asked for without a class
    assert json.loads(result.stdout)["results"] == [{"images": 7}]
    with np.load(npz) as arrays:
        assert arrays.files == ["arr_0"]
        found = arrays["arr_0"]
    assert np.array_equal(found, [*many.images(whole, many.read(whole))])
    assert (found.dtype, found.flags.c_contiguous) == (np.uint8, True)
    more = "--count", 5, "--backend", "numpy"
    result = command("evaluate", whole, "--npz", npz, "--json", *more)
    (row,) = json.loads(result.stdout)["results"]
    assert row["images"] == 5 and 0 <= row["agreement"] <= 1 and row["distance"] > 0
    result = command("evaluate", whole, "--steps", 4)
    assert result.exit_code == 2 and "drawn already" in result.stderr
    result = command("evaluate", "arpg-mnist", "--npz", npz)
    assert result.exit_code == 2 and "is for a folder" in result.stderr


def test_an_unfinished_folder_is_not_measured(pipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        pipe.draw_many(LABELS, tmp_path / "a", batch=2, progress=stop_after(2), **HOW)
    result = command("evaluate", tmp_path / "a")
    assert result.exit_code == 2 and "2 of its 7 images" in result.stderr
    assert not (tmp_path / "a.npz").exists()


def test_images_are_streamed_into_an_npz(tmp_path):
    """A control holds them all: what is measured is memory of arrays."""
    count, side = 200, 128
    folder, peaks = tmp_path / "a", []
    manifest = make(folder, count, side)
    # what reads a picture is imported
    next(many.images(folder, manifest))

    def stream():
        images = many.images(folder, manifest)
        for _ in write_npz(tmp_path / "a.npz", images, count, (side, side)):
            pass

    def collect():
        np.savez(tmp_path / "b.npz", arr_0=[*many.images(folder, manifest)])

    for write in (stream, collect):
        tracemalloc.start()
        write()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    whole = count * side * side * 3
    assert peaks[0] < whole / 5 and peaks[1] > whole
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert np.array_equal(a["arr_0"], b["arr_0"])


def test_an_npz_has_images_of_one_size(tmp_path):
    images = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)]
    with pytest.raises(InputError, match="image 1 of the folder has the shape"):
        list(write_npz(tmp_path / "a.npz", images, 2, (4, 4)))
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_files(tmp_path):
    line = kills.sample(30, "numpy")
    assert kills.run(line, tmp_path / "alone")[0] == 0
    kills.kill(line, tmp_path / "killed", kills=3, seed=1)
    assert not kills.differences(tmp_path / "alone", tmp_path / "killed")
    (tmp_path / "killed" / "000001.png").write_bytes(b"")
    assert "000001.png" in kills.differences(tmp_path / "alone", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.needs("distributed")
def test_lost_workers_lose_nothing(tmp_path):
    line = kills.sample(40, "numpy")
    assert kills.run(line, tmp_path / "alone")[0] == 0
    kills.lose_workers(line, tmp_path, 3)
    assert not kills.differences(tmp_path / "alone", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.needs("distributed")
def test_workers_on_this_machine_write_the_same_files(tmp_path):
    line = kills.sample(20, "numpy")
    assert kills.run(line, tmp_path / "alone")[0] == 0
    for count in (1, 2):
        status, said = kills.run([*line, "--cluster", f"local:{count}"], tmp_path / "a")
        assert (status, said) == (0, "")
        assert not kills.differences(tmp_path / "alone", tmp_path / "a")
        for path in (tmp_path / "a").iterdir():
            path.unlink()


def test_a_folder_is_a_path_of_any_kind(pipe, tmp_path):
    assert pipe.draw_many(7, str(tmp_path / "a"), steps=1) == Path(tmp_path / "a")
    with pytest.raises(InputError, match="is not a folder"):
        pipe.draw_many(7, tmp_path / "a" / "000000.png", steps=1)
    with pytest.raises(InputError, match="does not exist"):
        pipe.draw_many(7, tmp_path / "gone" / "a", steps=1)
