"""The step player's data are those of the steps, and its page is one file."""

import base64
import json
import re

import numpy as np
import pytest

import minigen
from minigen import sample
from minigen.errors import InputError
from minigen.show import frames, lesson, player

ORDERS = ("halton", "raster")


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


@pytest.fixture(scope="module")
def runs(pipe):
    how = {"seed": 8, "steps": 8, "temperature": 0.9, "details": True}
    return {order: list(pipe.steps([3], order=order, **how)) for order in ORDERS}


@pytest.fixture(scope="module")
def data(pipe, runs):
    return frames.decoding(pipe, runs, "Two orders", "A note.")


def pairs(data, runs):
    for run, steps in zip(data["runs"], runs.values(), strict=True):
        yield from zip(run["frames"], steps, strict=True)


def test_probabilities_are_those_of_the_step(data, runs):
    for frame, step in pairs(data, runs):
        assert frame["new"] == step.positions.tolist()
        assert frame["tokens"] == step.tokens[0].tolist()
        drawn = step.probabilities[0, np.arange(len(frame["new"])), frame["tokens"]]
        assert np.abs(np.array(frame["p"]) / 1e4 - drawn).max() <= 0.51e-4
        assert frame["weight"] == round(step.weight, 2)
        p = step.details.probabilities[0]
        for k, (codes, shares) in enumerate(
            zip(frame["top"], frame["topp"], strict=True)
        ):
            assert np.abs(np.array(shares) / 1e4 - p[k, codes]).max() <= 0.51e-4
            assert shares[0] / 1e4 >= p[k].max() - 0.51e-4
        bits = [-(row[row > 0] * np.log2(row[row > 0])).sum() for row in p]
        assert np.abs(np.array(frame["bits"]) / 100 - bits).max() <= 0.0051
        turn = step.details.in_turn[0]
        assert np.abs(np.array(frame["turn"]) / 1e4 - turn).max() <= 0.51e-4


def test_all_unknown_cells_are_there_and_every_cell_is_drawn_once(data):
    for run in data["runs"]:
        known = set()
        for frame in run["frames"]:
            assert {*frame["open"]} == {*range(64)} - known
            known |= {*frame["new"]}
        assert known == {*range(64)}


def test_attention_is_that_of_the_step_up_to_the_bytes(data, runs):
    for frame, step in pairs(data, runs):
        read = step.details.attention[0].mean(1)
        kept = np.frombuffer(base64.b64decode(frame["read"]), np.uint8) / 255
        # half a byte of a root
        assert np.abs(kept - np.sqrt(read.ravel())).max() <= 0.5001 / 255
        assert data["layers"] == len(read)


def test_the_cache_is_the_bytes_of_keys_and_values(data, pipe):
    config = pipe.config
    # keys and values, of self-decoder layers and the shared one, for both halves
    token = 2 * 2 * 4 * (config.half + 1) * config.heads * config.head_size
    for run in data["runs"]:
        read = 1
        for frame in run["frames"]:
            assert frame["keeps"] == token * read
            read += len(frame["new"])


def test_known_tokens_come_first(pipe, runs):
    known = runs["halton"][-1].canvas[0].copy()
    known[4:] = -1
    steps = pipe.steps([3], known=known, steps=4, details=True)
    made = frames.decoding(pipe, {"a": steps}, "Known")["runs"][0]
    assert made["known"] == [*range(32)]
    assert sum(len(frame["new"]) for frame in made["frames"]) == 32


def test_a_page_is_one_file_of_a_modest_size(data):
    page = player.page("decoding", data, "two")
    assert len(page.encode()) < 400_000
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert not re.search(r'\b(?:src|href)="(?!data:|#)', page)
    found = re.search(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert json.loads(found[1]) == json.loads(json.dumps(data))
    assert page == player.page("decoding", data, "two")


def test_the_storyboard_has_three_to_five_frames_a_lane(data):
    story = player.story(data)
    assert story.count("<figure") == 2 * 5 and story.count('class="name"') == 2
    # a page of a lesson has headings of its own
    assert not re.search("<h[1-6]", story)
    assert "step 8 of 8: 12 new, " in story and "bits of doubt" in story


def test_text_of_strangers_stays_text(pipe, runs):
    evil = '</script><script>alert("1")</script>'
    made = frames.decoding(pipe, {evil: runs["halton"]}, evil, evil)
    page = player.page("decoding", made, evil)
    assert "<script>alert" not in page and page.count("</script>") == 2


def test_the_script_is_short_and_plain():
    lines = player.script().splitlines()
    assert len(lines) < 300
    assert not re.search(
        r"\b(fetch|XMLHttpRequest|import|eval|innerHTML)\b", player.script()
    )


def test_models_without_probabilities_show_what_they_have():
    pipe = minigen.load("arinar-mnist", backend="numpy")
    steps = list(pipe.steps([7], steps=4))
    made = frames.decoding(pipe, {"arinar": steps}, "Vectors")
    first = made["runs"][0]["frames"][0]
    assert "bits" not in first and made["layers"] == 0 and made["stamps"] == {}
    assert np.abs(np.array(first["vectors"]) - steps[0].tokens[0]).max() <= 0.0051


def test_what_cannot_be_shown_is_refused(pipe, runs):
    with pytest.raises(InputError, match="details"):
        frames.decoding(pipe, {"a": pipe.steps([3], steps=2)}, "No details")
    with pytest.raises(InputError, match="no steps"):
        frames.decoding(pipe, {"a": []}, "Nothing")
    other = pipe.steps([3], steps=2, grid=(4, 8), details=True)
    with pytest.raises(InputError, match="2 grids"):
        frames.decoding(pipe, {"a": runs["halton"], "b": other}, "Two grids")
    with pytest.raises(InputError, match="kind 'grid' is not known"):
        player.embed("grid", {}, "a")
    with pytest.raises(InputError, match="Mamba-2"):
        frames.state(pipe, 3, 0, {"a": 0}, "No state")
    with pytest.raises(InputError, match="ARINAR"):
        frames.mixture(pipe, 3, {"a": 0}, "No density")


def test_a_state_is_that_of_the_run():
    pipe = minigen.load("aim-mnist", backend="numpy")
    made = frames.state(pipe, 3, 3, {"hasty": 3, "patient": 1}, "State", seed=5)
    (run,) = made["runs"]
    assert len(run["frames"]) == 63
    held = []
    given = pipe.generator.weights, pipe.config, pipe.plan(), [3], 5, pipe.options()
    list(
        sample.steps(
            pipe.ops,
            *given,
            watch=lambda _, m: held.append(m.states[3].scan[0, 3].copy()),
        )
    )
    top = np.abs(held).max()
    for i, frame in enumerate(run["frames"], start=1):
        kept = np.frombuffer(base64.b64decode(frame["panels"][1]["values"]), np.uint8)
        off = (kept / 255).reshape(held[i].shape) - np.sqrt(np.abs(held[i]) / top)
        assert np.abs(off).max() <= 0.5001 / 255


def test_a_mixture_holds_what_was_drawn():
    pipe = minigen.load("arinar-mnist", backend="numpy")
    how = {"order": "random", "schedule": "cosine", "steps": 16, "seed": 5}
    made = frames.mixture(pipe, 7, {"corner": 62, "stroke": 18}, "Mixture", **how)
    steps = list(pipe.steps([7], guidance=1, temperature=1, **how))
    for run, position in zip(made["runs"], (62, 18), strict=True):
        step = next(s for s in steps if position in s.positions)
        vector = step.tokens[0, step.positions.tolist().index(position)]
        assert [f["panels"][1]["at"] for f in run["frames"]] == [
            round(float(x), 3) for x in vector
        ]
        for frame in run["frames"]:
            assert abs(np.sum(frame["panels"][1]["parts"], 0).max() - 1000) <= 4


@pytest.mark.needs("greenlet")
def test_threads_are_those_of_the_interpreter():
    from minigen import simt
    from tests.simt_kernels import summed, without_barrier

    def given():
        return np.arange(8, dtype=np.float32), np.zeros(1, np.float32)

    launch = {
        "with": (summed, 1, 4, *given()),
        "without": (without_barrier, 1, 4, *given()),
    }
    made = frames.threads(launch, "Threads", seed=3)
    good, bad = made["runs"]
    report = simt.launch(summed, 1, 4, *given(), seed=3)
    reads = sum(" reads x[" in f["answer"] for f in good["frames"])
    assert reads == report.reads["x"].sum() == 8
    assert sum("waits at" in f["answer"] for f in good["frames"]) == 4
    assert "race" in bad["frames"][-1]["say"]
    for frame in good["frames"]:
        if "line" in frame and frame["line"] is not None:
            name = re.match(r"it \w+ (\w+)\[", frame["answer"])[1]
            assert name in good["code"][frame["line"]]


@pytest.mark.needs("compiler")
def test_lanes_are_those_of_the_compiled_kernel():
    from minigen.target import cuda, gpu_kernel

    @gpu_kernel
    def turns(x):
        i, n = cuda.threadIdx.x, 0
        while x[i] > n:
            n += 1
        x[i] = -n

    x = np.array([2, 0, 1, 2, 2, 0, 0, 1, 2])
    data = frames.compiled({"turns": (turns, 9, x.copy())}, "Turns")
    (run,) = data["runs"]
    panels = [frame["panels"][0] for frame in run["frames"]]
    assert panels[0]["new"] == panels[-1]["new"] == [*range(9)]
    # the loop is what some run while others wait; nobody is in two places
    assert {*np.flatnonzero(x == 2)} in [{*panel["new"]} for panel in panels]
    for panel, frame in zip(panels, run["frames"], strict=True):
        assert {*panel["new"]}.isdisjoint(panel["wait"])
        assert {*panel["new"], *panel["wait"]} <= {*range(9)}
        assert run["code"][frame["line"]] == frame["say"]
    player.page("threads", data, "turns")


def test_a_lesson_writes_a_page_or_tells_who_listens(
    data, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("MINIGEN_PICTURES", str(tmp_path))
    lesson.player("decoding", data, "05_two")
    assert (tmp_path / "05_two.html").read_text("utf-8") == player.page(
        "decoding", data, "05_two"
    )
    assert "05_two.html" in capsys.readouterr().out
    told = []
    monkeypatch.setattr(lesson, "listener", lambda *what: told.append(what))
    lesson.player("attention", data, "03_a")
    assert told == [("player", {"kind": "attention", "data": data, "name": "03_a"})]
